// Vercel's AI SDK with its provider for servers like OpenAI's: URL MODEL CHECK, as asked.py says. The tool turn is streamed.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, name, check] = process.argv.slice(2);
const model = createOpenAICompatible({ name: "weir", baseURL: `${url}/v1`, apiKey: "any" })(name);
const get_weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `22 degrees in ${city}`,
});
const hello = { model, maxRetries: 0, prompt: "Say hello." };

const visitor = z.object({
  name: z.string().max(40),
  age: z.number().int().min(1).max(120),
  ticket: z.object({ kind: z.enum(["adult", "child", "group"]), rooms: z.array(z.enum(["north", "south", "tower"])).min(1).max(3) }),
  guide: z.string().max(20).nullable(),
});

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
  async structured() {
    const options = { name: "weir", baseURL: `${url}/v1`, apiKey: "any", supportsStructuredOutputs: true };
    const bound = createOpenAICompatible(options)(name);
    const asked = { model: bound, maxRetries: 0, maxOutputTokens: 256, prompt: "Invent a visitor of the museum." };
    const { object } = await generateObject({ ...asked, schema: visitor });
    return [JSON.stringify(object)];
  },
};

console.log(JSON.stringify(await checks[check]()));
