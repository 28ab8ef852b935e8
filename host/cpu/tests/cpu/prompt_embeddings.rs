//! Embeddings in place of tokens: the rows of a model's own table compute what their tokens compute, on both runners of the CPU
//! and for every family, those that scale their embeddings with them.

use weir_cpu::CpuRunner;
use weir_engine::{Batch, BatchRow, EmbeddedTokens, ModelRunner, PromptEmbeddings, SequenceId};
use weir_model::{CandleRunner, Checkpoint};

use crate::checkpoints::{decoders, options, scattered};

const BLOCK_SIZE: usize = 4;
const TOKENS: [u32; 9] = [5, 3, 17, 3, 11, 8, 1, 19, 2];
/// Tokens of the first of two chunks.
const CUT: usize = 4;

fn row(sequence: u64, context_len: usize, len: usize) -> BatchRow {
    BatchRow {
        sequence: SequenceId(sequence),
        context_len,
        len,
        block_table: scattered(4 * sequence as usize, 3),
        wants_logits: true,
    }
}

/// Logits of a prompt in two chunks, each beside another prompt of tokens before it. With embeddings the prompt's tokens are
/// only places.
fn run(runner: &mut dyn ModelRunner, embeddings: Option<&PromptEmbeddings>) -> Vec<Vec<f32>> {
    let mut found = Vec::new();
    for (start, end) in [(0, CUT), (CUT, TOKENS.len())] {
        let len = end - start;
        let own = match embeddings {
            None => TOKENS[start..end].to_vec(),
            Some(_) => vec![0; len],
        };
        let batch = Batch {
            tokens: [vec![7; len], own].concat(),
            rows: vec![row(1, start, len), row(2, start, len)],
            embedded: embeddings
                .map(|embeddings| EmbeddedTokens {
                    tokens: len..2 * len,
                    embeddings: embeddings.clone(),
                    first: start,
                })
                .into_iter()
                .collect(),
        };
        let mut logits = runner.execute(&batch).unwrap();
        found.extend(logits.rows_mut().map(|row| row.to_vec()));
    }
    found
}

#[test]
fn the_tables_rows_compute_what_their_tokens_do() {
    for (path, _) in decoders() {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let table = checkpoint.read_floats("token_embd.weight").unwrap();
        let table: Vec<Vec<f32>> = table.to_vec2().unwrap();
        let rows = TOKENS
            .iter()
            .flat_map(|token| table[*token as usize].iter().copied());
        let load_cpu = || CpuRunner::load(&checkpoint, options(BLOCK_SIZE), Some(2), &mut |_| {});
        let load_reference = || CandleRunner::load(&checkpoint, options(BLOCK_SIZE), &mut |_| {});
        let runners: [Box<dyn ModelRunner>; 2] = [
            Box::new(load_cpu().unwrap()),
            Box::new(load_reference().unwrap()),
        ];
        let rows: Vec<f32> = rows.collect();
        for mut runner in runners {
            let width = runner.prompt_embedding_size().unwrap();
            let embeddings = PromptEmbeddings::new(rows.clone(), width).unwrap();
            let right = run(&mut *runner, None);
            let found = run(&mut *runner, Some(&embeddings));
            assert_eq!(found, right, "{}", path.display());
            let other: Vec<f32> = rows.iter().map(|value| value * -2.0).collect();
            let other = run(&mut *runner, PromptEmbeddings::new(other, width).as_ref());
            assert_ne!(other[3], right[3], "{}", path.display());
            assert_eq!(
                other[2],
                right[2],
                "the one beside it is another's: {}",
                path.display()
            );
        }
    }
}
