// Vercel's AI SDK with its provider for servers like OpenAI's: URL MODEL CHECK, as asked.py says. The tool turn is streamed.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, name, check] = process.argv.slice(2);
const model = createOpenAICompatible({ name: "weir", baseURL: `${url}/v1`, apiKey: "any" })(name);
const get_weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `22 degrees in ${city}`,
});
const hello = { model, maxRetries: 0, prompt: "Say hello." };

const checks = {
  async plain() {
    return [(await generateText(hello)).text];
  },
  async stream() {
    const pieces = [];
    for await (const piece of streamText(hello).textStream) pieces.push(piece);
    return pieces;
  },
  async tools() {
    const prompt = "What is the weather in Xanadu?";
    return [await streamText({ ...hello, prompt, tools: { get_weather }, stopWhen: stepCountIs(3) }).text];
  },
};

console.log(JSON.stringify(await checks[check]()));
