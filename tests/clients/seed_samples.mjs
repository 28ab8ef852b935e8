// The JavaScript samples of OpenKimi's guide (fetch) and of the vLLM-style guide (openai-node), against a weir that runs
// already. Usage: seed_samples.mjs openkimi|vllm URL; seed_samples.py starts it.

import assert from "node:assert/strict";
import OpenAI from "openai";

const [document, url] = process.argv.slice(2);

const samples = {
  async openkimi() {
    const request = {
      model: "openkimi-model",
      messages: [
        { role: "system", content: "这是需要处理的长文档内容..." },
        { role: "user", content: "请根据文档回答这个问题？" },
      ],
      max_tokens: 500,
    };
    const ask = (body) =>
      fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
    const data = await (await ask(request)).json();
    assert.equal(data.choices[0].message.content, "这是根据文档的回答。");

    // Whatever a read brings must be whole events: the guide keeps no rest of one for the next read.
    const reader = (await ask({ ...request, stream: true })).body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      for (const line of decoder.decode(value).split("\n\n")) {
        if (line.startsWith("data: ") && line !== "data: [DONE]") {
          text += JSON.parse(line.substring(6)).choices[0].delta.content ?? "";
        }
      }
    }
    assert.equal(text, "这是根据文档的回答。");
  },

  async vllm() {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "dummy" });
    const model = "qwen2.5-coder-32b-instruct";
    const ask = (content, more) =>
      client.chat.completions.create({ model, messages: [{ role: "user", content }], ...more });
    const plain = await ask("写一个TypeScript接口定义用户信息", { temperature: 0.7, max_tokens: 500 });
    assert.equal(plain.choices[0].message.content, "interface User { id: string }");

    let text = "";
    for await (const chunk of await ask("解释React Hooks", { stream: true })) {
      text += chunk.choices[0]?.delta?.content || "";
    }
    assert.equal(text, "Hooks 是函数。");

    const parameters = { type: "object", properties: { user_id: { type: "string" } } };
    const tools = [{ type: "function", function: { name: "get_user_info", description: "获取用户信息", parameters } }];
    const { message } = (await ask("获取用户123的信息", { tools, tool_choice: "auto" })).choices[0];
    assert.deepEqual(message.tool_calls.map((call) => call.function.name), ["get_user_info"]);
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { user_id: "123" });
  },
};

await samples[document]();
