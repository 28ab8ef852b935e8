// openai-node against a weir that runs already: what the client's own paths (helpers for streams and tools, base64 vectors,
// aborts, error classes) make of its answers. Usage: openai_node.mjs CHAT_URL EMBEDDING_URL; server.py starts both.

import assert from "node:assert/strict";
import OpenAI from "openai";

const [chatUrl, embeddingUrl] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${chatUrl}/v1`, apiKey: "any", maxRetries: 0 });
const embedder = new OpenAI({ baseURL: `${embeddingUrl}/v1`, apiKey: "any", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const embedding = (await embedder.models.list()).data[0].id;
const HELLO = [{ role: "user", content: "hello" }];
const WEATHER = [{ role: "user", content: "weather?" }];
const ARGUMENTS = '{"city": "北京", "unit": "celsius", "big": 12345678901234567890}';
const tool = (name) => ({ type: "function", function: { name, parameters: { type: "object", properties: {} } } });
const TOOLS = [tool("get_weather"), tool("get_time")];

const chat = (fields) => client.chat.completions.create({ model, messages: HELLO, ...fields });

const checks = {
  async "a plain answer"() {
    const answer = await chat();
    assert.equal(answer.choices[0].message.content, "Hello, world. 你好，世界。");
    assert.equal(answer.choices[0].message.reasoning_content, "A short thought.");
    assert.equal(answer.choices[0].finish_reason, "stop");
  },
  async "a streamed answer is the plain one"() {
    let text = "";
    for await (const chunk of await chat({ stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
    assert.equal(text, "Hello, world. 你好，世界。");
  },
  async "the helper for streams gathers an answer"() {
    const events = [];
    const stream = client.chat.completions.stream({ model, messages: HELLO, stream_options: { include_usage: true } });
    stream.on("content", (delta) => events.push(delta));
    assert.equal(await stream.finalContent(), events.join(""));
    assert.ok((await stream.totalUsage()).completion_tokens > 0);
  },
  async "the helper for streams gathers calls"() {
    const stream = client.chat.completions.stream({ model, messages: WEATHER, tools: TOOLS });
    const message = await stream.finalMessage();
    assert.deepEqual(message.tool_calls.map((call) => call.function.name), ["get_weather", "get_time"]);
    assert.equal(message.tool_calls[0].function.arguments, ARGUMENTS);
  },
  async "arguments arrive piece by piece"() {
    let deltas = 0;
    const stream = client.chat.completions.stream({ model, messages: WEATHER, tools: TOOLS });
    stream.on("tool_calls.function.arguments.delta", () => (deltas += 1));
    await stream.done();
    assert.ok(deltas > 4, `${deltas} deltas`);
  },
  async "tools run until there is an answer"() {
    const asked = [];
    const run = (name) => ({
      type: "function",
      function: {
        name,
        parameters: { type: "object", properties: {} },
        parse: JSON.parse,
        function: (given) => (asked.push([name, given]), "22 degrees"),
      },
    });
    const tools = [run("get_weather"), run("get_time")];
    const runner = client.chat.completions.runTools({ model, messages: WEATHER, tools });
    assert.equal(await runner.finalContent(), "It is 22 degrees in Beijing.");
    assert.deepEqual(asked.map(([name]) => name), ["get_weather", "get_time"]);
    assert.equal(asked[0][1].city, "北京");
  },
  async "tools run on a stream too"() {
    const run = (name) => ({
      type: "function",
      function: { name, parameters: { type: "object", properties: {} }, parse: JSON.parse, function: () => "22 degrees" },
    });
    const tools = [run("get_weather"), run("get_time")];
    const runner = client.chat.completions.runTools({ model, messages: WEATHER, tools, stream: true });
    assert.equal(await runner.finalContent(), "It is 22 degrees in Beijing.");
  },
  async "a call that was cut is the same streamed and not"() {
    const fields = { model, messages: WEATHER, tools: TOOLS, max_tokens: 40 };
    const plain = (await client.chat.completions.create(fields)).choices[0];
    let streamed = "", reason;
    for await (const { choices } of await client.chat.completions.create({ ...fields, stream: true })) {
      for (const call of choices[0].delta.tool_calls ?? []) streamed += call.function.arguments;
      reason = choices[0].finish_reason;
    }
    assert.equal(plain.finish_reason, "length");
    assert.equal(reason, "length");
    assert.ok(streamed.length > 0);
    assert.equal(plain.message.tool_calls[0].function.arguments, streamed);
  },
  async "the helper for responses gathers an answer"() {
    const fields = { model, input: "hello", reasoning: { effort: "low" } };
    const stream = client.responses.stream(fields);
    let text = "";
    stream.on("response.output_text.delta", (event) => (text += event.delta));
    const response = await stream.finalResponse();
    assert.equal(response.output_text, text);
    assert.equal((await client.responses.create(fields)).output_text, text);
  },
  async "a response is followed up"() {
    const first = await client.responses.create({ model, input: "hello" });
    const second = await client.responses.create({ model, input: "again", previous_response_id: first.id });
    assert.equal((await client.responses.retrieve(second.id)).previous_response_id, first.id);
    await client.responses.delete(first.id);
    await assert.rejects(
      client.responses.create({ model, input: "again", previous_response_id: first.id }),
      (error) => error instanceof OpenAI.BadRequestError && error.code === "previous_response_not_found",
    );
  },
  async "n answers"() {
    const answer = await chat({ n: 2 });
    assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
  },
  async "logprobs"() {
    const { content } = (await chat({ logprobs: true, top_logprobs: 2 })).choices[0].logprobs;
    assert.ok(content.length > 0 && content.every((token) => token.top_logprobs.length === 2));
  },
  async "a completion, plain and streamed"() {
    const plain = await client.completions.create({ model, prompt: "hello", max_tokens: 100 });
    let text = "";
    for await (const chunk of await client.completions.create({ model, prompt: "hello", max_tokens: 100, stream: true }))
      text += chunk.choices[0]?.text ?? "";
    assert.equal(plain.choices[0].text, text);
  },
  async "an aborted stream just ends"() {
    const stream = await chat({ stream: true });
    let chunks = 0;
    for await (const _ of stream) if ((chunks += 1) === 2) stream.controller.abort();
    assert.ok(chunks >= 2);
    assert.ok(await chat());
  },
  async "a response's headers"() {
    const { response, request_id } = await chat().withResponse();
    assert.equal(response.headers.get("x-request-id"), request_id);
  },
  async "models are listed and found"() {
    const names = [];
    for await (const found of client.models.list()) names.push(found.id);
    assert.deepEqual(names, [model]);
    assert.equal((await client.models.retrieve(model)).object, "model");
  },
  async "errors are the client's own"() {
    await assert.rejects(chat({ temperature: 9 }), OpenAI.BadRequestError);
    await assert.rejects(chat({ model: "nobody" }), OpenAI.NotFoundError);
    await assert.rejects(chat({ messages: [] }), (error) => error.param === "messages" && error.type === "invalid_request_error");
  },
  async "vectors are asked for in base64"() {
    const [packed, floats] = await Promise.all(
      [undefined, "float"].map((encoding_format) => embedder.embeddings.create({ model: embedding, input: "hello", encoding_format })),
    );
    // Base64 carries f32, JSON the shortest decimals that give the same f32.
    assert.deepEqual(packed.data[0].embedding, floats.data[0].embedding.map(Math.fround));
    const raw = await embedder.embeddings.create({ model: embedding, input: "hello", encoding_format: "base64" });
    assert.equal(typeof raw.data[0].embedding, "string");
  },
  async "a generative model's vectors, packed and not"() {
    const [packed, floats] = await Promise.all(
      [undefined, "float"].map((encoding_format) => client.embeddings.create({ model, input: ["hello", "world"], encoding_format })),
    );
    assert.deepEqual(packed.data.map((item) => item.embedding), floats.data.map((item) => item.embedding.map(Math.fround)));
    const cut = await client.embeddings.create({ model, input: "hello", dimensions: 4 });
    assert.equal(cut.data[0].embedding.length, 4);
    await assert.rejects(client.embeddings.create({ model, input: "" }), OpenAI.BadRequestError);
  },
  async "many vectors at once"() {
    const answer = await embedder.embeddings.create({ model: embedding, input: ["hello", "world", "hello"] });
    assert.deepEqual(answer.data.map((item) => item.index), [0, 1, 2]);
    assert.deepEqual(answer.data[0].embedding, answer.data[2].embedding);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
  } catch (error) {
    failed += 1;
    console.log("FAIL", name);
    console.error(error);
  }
}
console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
