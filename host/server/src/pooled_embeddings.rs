//! Vectors of a generative model: the pooled last hidden states of texts, computed by its engine between the tokens of answers.
//!
//! Invariants: of one request no more texts are in the engine at a time than make a pass, so whoever comes next waits for
//! a pass and not for a thousand texts; they wait in the engine's queue like any sequence and count against its bound.
//! Only a request that has begun nothing is turned away: once a pass was taken, the others wait for room.
//! Dropping the future gives its texts up.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::time::sleep;
use weir_engine::{
    EmbeddingInfo, EngineError, Generated, GeneratedStream, Generator, Pooling, SamplingParams,
    SequenceRequest, StopConditions,
};

/// Tokens of one pass; a single text may have more. As many as an embedding model takes in one.
const PASS_TOKENS: usize = 2048;
/// Texts of one pass.
const PASS_TEXTS: usize = 256;
/// Until a full queue is looked at again.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// Makes vectors with an engine.
pub struct PooledEmbedder {
    /// The engine.
    pub generator: Arc<dyn Generator>,
    /// Sizes of vectors and texts.
    pub info: EmbeddingInfo,
    /// How a text's hidden states become one.
    pub pooling: Pooling,
    /// Whether that is scaled to length 1.
    pub normalize: bool,
    /// Sequences that may wait in the engine's queue.
    pub max_queue: usize,
}

impl PooledEmbedder {
    /// One vector a text, in order. The texts fit the model.
    ///
    /// # Errors
    /// [`EngineError::QueueFull`] before anything was computed, [`EngineError::Runner`], [`EngineError::Lost`] or
    /// [`EngineError::Stopped`].
    pub async fn embed(&self, texts: Vec<Vec<u32>>) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut waiting = VecDeque::from(passes(texts, self.max_queue.clamp(1, PASS_TEXTS)));
        while let Some(mut pass) = waiting.pop_front() {
            match self.pass(&pass).await {
                Ok(more) => vectors.extend(more),
                Err(EngineError::QueueFull { .. }) if !vectors.is_empty() => {
                    // Half of them find room sooner.
                    let rest = pass.split_off(pass.len().div_ceil(2));
                    let parts = [rest, pass].into_iter().filter(|part| !part.is_empty());
                    parts.for_each(|part| waiting.push_front(part));
                    sleep(ROOM_WAIT).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(vectors)
    }

    /// All vectors of a pass; of one that the queue has no room for, nothing is computed.
    async fn pass(&self, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, EngineError> {
        let requests = texts.iter().map(|text| self.request(text.clone()));
        let mut vectors = Vec::with_capacity(texts.len());
        for stream in self.generator.submit_all(requests.collect())? {
            vectors.push(self.vector(stream).await?);
        }
        Ok(vectors)
    }

    fn request(&self, text: Vec<u32>) -> SequenceRequest {
        SequenceRequest {
            prompt: text,
            sampling: SamplingParams::default(),
            stop: StopConditions::default(),
            constraint: None,
            embeddings: None,
            pooling: Some(self.pooling),
            priority: 0,
        }
    }

    async fn vector(&self, mut stream: GeneratedStream) -> Result<Vec<f32>, EngineError> {
        let mut vector = None;
        while let Some(said) = stream.next().await {
            match said? {
                Generated::Vector(said) => vector = Some(said),
                _ => break,
            }
        }
        let mut vector = vector.ok_or(EngineError::Stopped)?;
        if self.normalize {
            to_unit_length(&mut vector);
        }
        Ok(vector)
    }
}

/// The texts in order, so many at a time that they have no more than [`PASS_TOKENS`] together.
fn passes(texts: Vec<Vec<u32>>, most: usize) -> Vec<Vec<Vec<u32>>> {
    let (mut passes, mut pass, mut tokens) = (Vec::new(), Vec::new(), 0);
    for text in texts {
        if !pass.is_empty() && (pass.len() == most || tokens + text.len() > PASS_TOKENS) {
            passes.push(mem::take(&mut pass));
            tokens = 0;
        }
        tokens += text.len();
        pass.push(text);
    }
    if !pass.is_empty() {
        passes.push(pass);
    }
    passes
}

/// Scales a vector to length 1; one of zeros stays as it is.
pub(crate) fn to_unit_length(vector: &mut [f32]) {
    let squares = vector.iter().map(|value| f64::from(*value).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::stream;

    use super::*;

    /// Has so many places free at each submission, one after the other; a text's vector is its tokens.
    struct Crowded(Mutex<VecDeque<usize>>);

    impl Generator for Crowded {
        fn submit(&self, request: SequenceRequest) -> Result<GeneratedStream, EngineError> {
            let vector = request.prompt.into_iter().map(|token| token as f32);
            let said = Ok(Generated::Vector(vector.collect()));
            Ok(Box::pin(stream::iter([said])))
        }

        fn submit_all(
            &self,
            requests: Vec<SequenceRequest>,
        ) -> Result<Vec<GeneratedStream>, EngineError> {
            let free = self.0.lock().unwrap().pop_front().unwrap_or(usize::MAX);
            if requests.len() > free {
                let (queued, limit) = (8 - free, 8);
                return Err(EngineError::QueueFull { queued, limit });
            }
            requests
                .into_iter()
                .map(|request| self.submit(request))
                .collect()
        }
    }

    async fn embed(free: &[usize], texts: usize) -> Result<Vec<Vec<f32>>, EngineError> {
        let embedder = PooledEmbedder {
            generator: Arc::new(Crowded(Mutex::new(free.iter().copied().collect()))),
            info: EmbeddingInfo {
                dimensions: 1,
                max_tokens: 8,
                vocab_size: 99,
            },
            pooling: Pooling::Last,
            normalize: false,
            max_queue: 4,
        };
        embedder
            .embed((0..texts as u32).map(|text| vec![text]).collect())
            .await
    }

    #[tokio::test]
    async fn a_request_is_turned_away_before_it_begins_or_not_at_all() {
        let all = |texts: usize| (0..texts).map(|text| vec![text as f32]).collect::<Vec<_>>();
        assert_eq!(embed(&[], 10).await, Ok(all(10)));
        // The second pass finds one place, then two.
        assert_eq!(embed(&[4, 1, 2, 0, 1, 0, 0, 1], 10).await, Ok(all(10)));
        let refused = embed(&[3], 10).await;
        assert!(
            matches!(refused, Err(EngineError::QueueFull { .. })),
            "{refused:?}"
        );
    }

    fn sizes(lengths: &[usize], most: usize) -> Vec<Vec<usize>> {
        let texts = lengths.iter().map(|length| vec![0; *length]).collect();
        let passes = passes(texts, most);
        let sizes = |pass: &Vec<Vec<u32>>| pass.iter().map(Vec::len).collect();
        passes.iter().map(sizes).collect()
    }

    #[test]
    fn a_pass_holds_so_many_texts_and_tokens() {
        assert!(sizes(&[], 4).is_empty());
        assert_eq!(sizes(&[1, 2, 3], 2), [vec![1, 2], vec![3]]);
        assert_eq!(sizes(&[2000, 48, 1], 9), [vec![2000, 48], vec![1]]);
        assert_eq!(sizes(&[1, 5000, 1], 9), [vec![1], vec![5000], vec![1]]);
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut vectors = [[0.0, 0.0], [3.0, 4.0], [f32::MAX, 0.0]];
        vectors.iter_mut().for_each(|vector| to_unit_length(vector));
        assert_eq!(vectors, [[0.0, 0.0], [0.6, 0.8], [1.0, 0.0]]);
    }
}
