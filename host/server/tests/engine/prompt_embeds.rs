//! Prompts of embeddings over a real decoder: what the table's own rows say is what their tokens say.

use std::io::{Cursor, Write};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    tiny_model::{CONTEXT, HIDDEN, embedding},
    token_fields::{ask, chunks, id, send, serve},
};

const PATH: &str = "/v1/completions";

fn text_ids(text: &str) -> Vec<u32> {
    text.chars().map(id).collect()
}

/// The rows of these tokens, as `torch.save` writes them.
fn embedded(text: &str) -> String {
    let rows: Vec<f32> = text_ids(text).into_iter().flat_map(embedding).collect();
    saved(&rows, HIDDEN)
}

/// What `torch.save` writes of a float32 tensor, in base64; tests/reference/prompt_embeds.py has torch's own.
fn saved(numbers: &[f32], columns: usize) -> String {
    let integer = |number: usize| {
        let bytes = i32::try_from(number).unwrap().to_le_bytes();
        [b"J".as_slice(), &bytes].concat()
    };
    let text = |text: &str| {
        let len = u32::try_from(text.len()).unwrap().to_le_bytes();
        [b"X".as_slice(), &len, text.as_bytes()].concat()
    };
    let storage = [
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        integer(numbers.len()),
    ];
    let shape = [
        integer(numbers.len() / columns),
        integer(columns),
        b"\x86".to_vec(),
    ];
    let strides = [integer(columns), integer(1), b"\x86".to_vec()];
    let pickle = [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        storage.concat(),
        b"tQ".to_vec(),
        integer(0),
        shape.concat(),
        strides.concat(),
        b"\x89ccollections\nOrderedDict\n)RtR.".to_vec(),
    ];
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    for (name, content) in [("data.pkl", pickle.concat()), ("data/0", bytes)] {
        archive
            .start_file(format!("archive/{name}"), stored)
            .unwrap();
        archive.write_all(&content).unwrap();
    }
    BASE64_STANDARD.encode(archive.finish().unwrap().into_inner())
}

fn greedy(more: Value) -> Value {
    let mut body = json!({"max_tokens": 24, "temperature": 0, "ignore_eos": true, "logprobs": 2});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

#[tokio::test]
async fn a_tables_own_rows_say_what_their_tokens_say() {
    let (router, _engine) = serve();
    // Longer than a block, so that the text's is in the prefix cache by the second round.
    let prompt = "The quick brown fox jumps over the lazy dog, and over the next. ".repeat(2);
    for _ in 0..2 {
        let by_text = ask(&router, PATH, &greedy(json!({"prompt": prompt}))).await;
        let body = greedy(json!({"prompt_embeds": embedded(&prompt)}));
        let by_rows = ask(&router, PATH, &body).await;
        assert_eq!(by_rows["choices"], by_text["choices"]);
        assert_eq!(by_rows["usage"]["prompt_tokens"], prompt.len());
        assert_eq!(
            by_rows["usage"]["prompt_tokens_details"]["cached_tokens"],
            0
        );
        let streamed = chunks(&router, PATH, &body).await;
        let streamed = streamed
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["text"].as_str());
        assert_eq!(streamed.collect::<String>(), by_text["choices"][0]["text"]);
    }
    // Other rows, other words.
    let halved: Vec<f32> = text_ids(&prompt)
        .into_iter()
        .flat_map(embedding)
        .map(|number| number / -2.0)
        .collect();
    let other = ask(
        &router,
        PATH,
        &greedy(json!({"prompt_embeds": saved(&halved, HIDDEN)})),
    )
    .await;
    let text = ask(&router, PATH, &greedy(json!({"prompt": prompt}))).await;
    assert_ne!(other["choices"][0]["text"], text["choices"][0]["text"]);
}

#[tokio::test]
async fn embeddings_come_before_texts() {
    let (router, _engine) = serve();
    let body = greedy(json!({
        "prompt_embeds": [embedded("one and"), embedded("two")],
        "prompt": ["three", "one and"],
        "return_token_ids": true,
    }));
    let answer = ask(&router, PATH, &body).await;
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    assert_eq!(choices[0]["text"], choices[3]["text"]);
    assert_ne!(choices[0]["text"], choices[1]["text"]);
    let prompts: Vec<&Value> = choices
        .iter()
        .map(|choice| &choice["prompt_token_ids"])
        .collect();
    let (none, three) = (json!([]), json!(text_ids("three")));
    assert_eq!(prompts, [&none, &none, &three, &json!(text_ids("one and"))]);
    // OpenAI's clients send a prompt in any case.
    let body = greedy(json!({"prompt": "", "prompt_embeds": embedded("two")}));
    let alone = ask(&router, PATH, &body).await;
    assert_eq!(alone["choices"].as_array().unwrap().len(), 1);
    assert_eq!(alone["choices"][0]["text"], choices[1]["text"]);
}

#[tokio::test]
async fn what_does_not_fit_the_model_is_refused() {
    let (router, _engine) = serve();
    let long = vec![0.5; (CONTEXT + 1) * HIDDEN];
    let cases = [
        ("?".to_owned(), "base64"),
        ("AAAA".to_owned(), "torch.save"),
        (saved(&[0.5; 6], 3), "[tokens, 64]"),
        (saved(&[f32::NAN; HIDDEN], HIDDEN), "row 0, column 0"),
        (saved(&long, HIDDEN), "513 rows"),
    ];
    for (tensor, complaint) in cases {
        let (status, body) = send(&router, PATH, &json!({"prompt_embeds": tensor})).await;
        assert_eq!(status, 400, "{complaint}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let error = &body["error"];
        assert!(
            error["message"].as_str().unwrap().contains(complaint),
            "{body}"
        );
        assert_eq!(error["param"], "prompt_embeds");
    }
    // As long as the context, it leaves no room for an answer.
    let whole = saved(&long[HIDDEN..], HIDDEN);
    let (status, body) = send(&router, PATH, &json!({"prompt_embeds": whole})).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("context_length_exceeded"), "{body}");
}
