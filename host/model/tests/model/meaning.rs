//! What a configuration means where it says nothing, or says it in another way: the families' classes in `transformers`
//! have the last word, and for GGUF files llama.cpp.

use serde_json::{Value, json};
use weir_model::{Attention, Checkpoint, GroupedAttention, ModelDescription};

use crate::edited_checkpoints::{Gguf, changed, config, root, with_config};

fn described(model: &str, changes: Value) -> ModelDescription {
    let folder = changed(model, &changes);
    Checkpoint::open(folder.path()).unwrap().describe().unwrap()
}

fn attention(description: &ModelDescription, layer: usize) -> &GroupedAttention {
    match &description.layers[layer].attention {
        Attention::Grouped(attention) => attention,
        Attention::Latent(_) => panic!("another kind of attention"),
    }
}

fn windows(description: &ModelDescription) -> Vec<Option<usize>> {
    (0..description.layers.len())
        .map(|layer| attention(description, layer).window)
        .collect()
}

#[test]
fn a_window_that_is_absent_is_the_familys_and_one_that_is_null_is_none() {
    let absent = || json!({"sliding_window": "ABSENT"});
    let null = || json!({"sliding_window": null});
    let window = Some(4096);
    assert_eq!(windows(&described("mistral", absent())), [window; 2]);
    assert_eq!(windows(&described("mistral", null())), [None; 2]);
    assert_eq!(
        windows(&described("gemma2", absent())),
        [window, None, window]
    );
    assert_eq!(windows(&described("gemma2", null())), [None; 3]);
    assert_eq!(
        windows(&described("qwen2-window", absent())),
        [None, window]
    );
    assert_eq!(windows(&described("qwen2-window", null())), [None; 2]);
    assert_eq!(windows(&described("phi3", absent())), [None; 2]);
}

#[test]
fn layers_that_slide_without_a_window_keep_their_own_rope() {
    let description = described("gemma3-cap", json!({"sliding_window": null}));
    let ropes: Vec<_> = (0..4)
        .map(|layer| attention(&description, layer).rope)
        .collect();
    assert_eq!(ropes, [Some(1), Some(0), Some(1), Some(0)]);
    assert_eq!(windows(&description), [None; 4]);
}

#[test]
fn gemma2_has_caps_unless_they_are_null() {
    let caps = |changes: Value| {
        let description = described("gemma2", changes);
        let softcap = attention(&description, 0).softcap;
        (softcap, description.logit_softcap)
    };
    let both =
        |value: Value| json!({"attn_logit_softcapping": value, "final_logit_softcapping": value});
    assert_eq!(caps(both(json!("ABSENT"))), (Some(50.0), Some(30.0)));
    assert_eq!(caps(both(json!(null))), (None, None));
    let no_context = json!({"max_position_embeddings": "ABSENT"});
    assert_eq!(described("gemma2", no_context).context_length, 8192);

    let mut file = Gguf::read(&root().join("gemma2/model.gguf"));
    file.metadata
        .retain(|(key, _)| !key.ends_with("logit_softcapping") && !key.ends_with("sliding_window"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    file.write(&path);
    let description = Checkpoint::open(&path).unwrap().describe().unwrap();
    assert_eq!(attention(&description, 0).softcap, Some(50.0));
    assert_eq!(description.logit_softcap, Some(30.0));
    assert_eq!(windows(&description), [Some(4096), None, Some(4096)]);
}

#[test]
fn an_empty_object_is_no_rope_scaling_and_hides_none() {
    let plain = described("llama-yarn", json!({"rope_scaling": {}}));
    let yarn = described("llama-yarn", json!({}));
    assert_ne!(plain.ropes, yarn.ropes);
    assert_eq!(
        described("llama-yarn", json!({"rope_parameters": {}})).ropes,
        yarn.ropes
    );
    let twice = &config(&root().join("llama-yarn"))["rope_scaling"];
    assert_eq!(
        described("llama-yarn", json!({"rope_parameters": twice})).ropes,
        yarn.ropes
    );
}

#[test]
fn a_base_may_be_an_integer_and_stand_in_either_place() {
    let plain = described("llama", json!({"rope_theta": 500_000.0})).ropes;
    assert_eq!(
        described("llama", json!({"rope_theta": 500_000})).ropes,
        plain
    );
    let inside =
        json!({"rope_theta": 7, "rope_scaling": {"rope_type": "default", "rope_theta": 500_000}});
    assert_eq!(described("llama", inside).ropes, plain);
    assert_ne!(described("llama", json!({"rope_theta": 7})).ropes, plain);
}

#[test]
fn phi3_was_first_trained_for_4096_tokens_unless_it_says_otherwise() {
    let changes = json!({"original_max_position_embeddings": "ABSENT"});
    let description = described("phi3-longrope-long", changes);
    let long = description.ropes[0].long.as_ref().unwrap();
    assert_eq!(long.original_context, 4096);
}

#[test]
fn keys_of_trainers_and_of_other_libraries_change_nothing() {
    let plain = described("llama", json!({}));
    let noise = json!({
        "is_llama_config": true, "rope_interleaved": false, "transformers.js_config": {"dtype": "q4"},
        "pretraining_tp": 4, "chunk_size_feed_forward": 0, "is_decoder": false, "head_dim": null,
        "neftune_noise_alpha": 5.0, "attn_implementation": "sdpa", "is_causal": true,
    });
    assert_eq!(described("llama", noise), plain);
}

#[test]
fn end_tokens_are_a_number_or_a_list_and_an_empty_list_says_nothing() {
    let folder = changed("llama", &json!({"eos_token_id": [3, 2, 3]}));
    let end_tokens = || {
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.describe().unwrap().eos_token_ids
    };
    assert_eq!(end_tokens(), [2, 3]);
    let generation = folder.path().join("generation_config.json");
    for (text, expected) in [
        (r#"{"eos_token_id": 7}"#, &[7][..]),
        (r#"{"eos_token_id": []}"#, &[2, 3]),
        (r#"{"eos_token_id": null}"#, &[2, 3]),
        ("{}", &[2, 3]),
    ] {
        std::fs::write(&generation, text).unwrap();
        assert_eq!(end_tokens(), expected, "{text}");
    }
}

#[test]
fn a_text_model_is_tied_as_the_whole_says_where_it_says_nothing() {
    let folder = root().join("gemma3-vision");
    let tied = |own: Option<bool>, whole: Option<bool>| {
        let mut config = config(&folder);
        let text = config["text_config"].as_object_mut().unwrap();
        text.remove("tie_word_embeddings");
        text.extend(own.map(|tied| ("tie_word_embeddings".to_owned(), json!(tied))));
        let outer = config.as_object_mut().unwrap();
        outer.extend(whole.map(|tied| ("tie_word_embeddings".to_owned(), json!(tied))));
        let copy = with_config(&folder, &config);
        let description = Checkpoint::open(copy.path()).unwrap().describe();
        description.unwrap().tied_embeddings
    };
    assert!(tied(None, None));
    assert!(!tied(None, Some(false)));
    assert!(tied(Some(true), Some(false)));
    assert!(!tied(Some(false), Some(true)));
}
