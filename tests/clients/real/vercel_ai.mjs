// Vercel's AI SDK with its provider for servers like OpenAI's. Prints one JSON object, as checks.py says.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, name] = process.argv.slice(2);
const model = createOpenAICompatible({ name: "weir", baseURL: `${url}/v1`, apiKey: "any" })(name);
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `22 degrees in ${city}`,
});

const checks = {
  async plain() {
    return (await generateText({ model, prompt: "Say hello." })).text;
  },
  async stream() {
    const pieces = [];
    for await (const piece of streamText({ model, prompt: "Say hello." }).textStream) pieces.push(piece);
    if (pieces.length < 3) throw new Error(`${pieces.length} pieces`);
    return pieces.join("");
  },
  async tools() {
    const prompt = "What is the weather in Xanadu?";
    return (await generateText({ model, prompt, tools: { get_weather: weather }, stopWhen: stepCountIs(3) })).text;
  },
};
const answers = { plain: "Hello from weir", stream: "Hello from weir", tools: "It is 22 degrees in Xanadu." };

const results = {};
for (const [check, ask] of Object.entries(checks)) {
  try {
    const said = await ask();
    if (!said.includes(answers[check])) throw new Error(said);
    results[check] = null;
  } catch (error) {
    console.error(error);
    results[check] = `${error}`.split("\n")[0];
  }
}
console.log(JSON.stringify(results));
