"""Vectors: of an embedding model, and of a generative model's last hidden states."""

import math

import openai

from asking import HELLO, not_elsewhere, of_a_real_model, of_an_embedding_model, of_any_model, of_vectors

NO_VECTORS = "weir asks engines elsewhere for no vectors: 501"


def length(vector):
    return math.sqrt(sum(x * x for x in vector))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / length(a) / length(b)


@not_elsewhere(NO_VECTORS)
@of_vectors
def a_vector_is_the_same_in_both_encodings(weir):
    packed, floats = weir.embed("hello"), weir.embed("hello", encoding_format="float")
    # Base64 carries f32, JSON the shortest decimals that give the same f32.
    assert packed.object == "list" and packed.model == weir.model, packed
    assert packed.data[0].object == "embedding" and len(packed.data[0].embedding) == len(floats.data[0].embedding), packed
    assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(packed.data[0].embedding, floats.data[0].embedding)), packed


@not_elsewhere(NO_VECTORS)
@of_vectors
def inputs_are_texts_or_tokens_or_lists_of_them(weir):
    for text, count in (("hello", 1), (["hello", "world"], 2), ([2, 58, 3], 1), ([[2, 58, 3], [2, 3]], 2)):
        assert [item.index for item in weir.embed(text).data] == list(range(count)), text


@not_elsewhere(NO_VECTORS)
@of_vectors
def a_text_is_its_tokens(weir):
    tokens = weir.raw("/tokenize", {"prompt": "hello world"}).json()["tokens"]
    assert weir.embed(tokens).data[0].embedding == weir.embed("hello world").data[0].embedding
    assert weir.embed([tokens]).data[0].embedding == weir.embed(["hello world"]).data[0].embedding


@not_elsewhere(NO_VECTORS)
@of_vectors
def usage_of_vectors_counts_tokens(weir):
    for tokens in ([5, 6, 7], [[5, 6], [7]]):
        usage = weir.embed(tokens).usage
        assert usage.prompt_tokens == usage.total_tokens == 3, usage


@not_elsewhere(NO_VECTORS)
@of_vectors
def vectors_have_length_one(weir):
    assert abs(length(weir.embed("hello").data[0].embedding) - 1) < 1e-3


@not_elsewhere(NO_VECTORS)
@of_vectors
def dimensions_cut_and_normalise(weir):
    whole = weir.embed("hello").data[0].embedding
    cut = weir.embed("hello", dimensions=8).data[0].embedding
    assert len(cut) == 8 and abs(length(cut) - 1) < 1e-3, cut
    assert cosine(cut, whole[:8]) > 0.9999


@not_elsewhere(NO_VECTORS)
@of_vectors
def a_batch_is_in_order(weir):
    texts = [f"text number {number}" for number in range(40)]
    vectors = [item.embedding for item in weir.embed(texts).data]
    for number in (0, 17, 39):
        assert vectors[number] == weir.embed(texts[number]).data[0].embedding, number


@not_elsewhere(NO_VECTORS)
@of_vectors
def a_vector_does_not_depend_on_its_neighbours(weir):
    alone = weir.embed("hello").data[0].embedding
    assert weir.embed(["a longer text that stands before it", "hello"]).data[1].embedding == alone


@not_elsewhere(NO_VECTORS)
@of_vectors
def a_user_may_be_named(weir):
    assert weir.embed("hello", user="ada").data


@not_elsewhere(NO_VECTORS)
@of_vectors
def a_text_that_is_too_long_is_refused_or_cut(weir):
    answer = weir.raw("/v1/embeddings", {"input": [5] * 200_000})
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["code"] == "context_length_exceeded" and "200000" in error["message"], answer.text
    # At a few tokens: a whole context takes long.
    cut = weir.raw("/v1/embeddings", {"input": [5] * 200_000, "truncate_prompt_tokens": 4}).json()
    assert cut["usage"]["prompt_tokens"] == 4, cut


@not_elsewhere(NO_VECTORS)
@of_vectors
def wrong_dimensions_are_refused(weir):
    for dimensions in (0, 100_000):
        try:
            weir.embed("hello", dimensions=dimensions)
        except openai.BadRequestError as error:
            assert error.param == "dimensions", error
        else:
            raise AssertionError(dimensions)


@not_elsewhere(NO_VECTORS)
@of_vectors
def unknown_models_make_no_vectors(weir):
    answer = weir.raw("/v1/embeddings", {"model": "nobody", "input": "x"})
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found", answer.text


@not_elsewhere(NO_VECTORS)
@of_any_model
def vectors_and_answers_go_together(weir):
    vector = weir.embed("hello").data[0].embedding
    stream = weir.chat(stream=True, max_tokens=8)
    for _ in stream:
        assert weir.embed("hello").data[0].embedding == vector


@not_elsewhere(NO_VECTORS)
@of_a_real_model
def texts_that_are_alike_have_vectors_that_are_alike(weir):
    texts = ["The cat sleeps on the sofa.", "A cat is sleeping on the couch.", "The stock market fell by three percent today."]
    cat, too, market = (item.embedding for item in weir.embed(texts).data)
    assert cosine(cat, too) > cosine(cat, market), (cosine(cat, too), cosine(cat, market))


@not_elsewhere(NO_VECTORS)
@of_an_embedding_model
def an_embedding_model_does_not_chat(weir):
    answer = weir.raw("/v1/chat/completions", {"messages": HELLO})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "model", answer.text
