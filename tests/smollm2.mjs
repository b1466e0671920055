// Greedy continuations by llama.cpp, for tests/smollm2.rs. Arguments: a GGUF file, and the number of tokens. stdin: a JSON
// list of prompts. stdout: for each prompt its ids, the ids that follow, and the margin of each: the probability of the
// token less that of the second.
//
// It needs Node and `npm install node-llama-cpp@3.22.1`, for example in the folder that NODE_PATH names.

import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";
import {readFileSync} from "node:fs";
import path from "node:path";

const folder = process.env.STERNA_LLAMA_CPP;
const require = createRequire(path.join(folder, "package.json"));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const [file, count] = [process.argv[2], Number(process.argv[3])];
const prompts = JSON.parse(readFileSync(0, "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: file});
// More threads than free cores wait for each other.
const context = await model.createContext({contextSize: 256, threads: 1, sequences: prompts.length});
const answers = [];
for (const prompt of prompts) {
    const sequence = context.getSequence();
    const ids = model.tokenize(prompt, true);
    const next = [], margins = [];
    const options = {temperature: 0};
    for await (const {token, probabilities} of sequence.evaluateWithMetadata(ids, {probabilities: true}, options)) {
        let [first, second] = [0, 0];
        for (const p of probabilities.values()) {
            if (p > first) [first, second] = [p, first];
            else if (p > second) second = p;
        }
        next.push(token);
        margins.push(first - second);
        if (next.length === count) break;
    }
    answers.push({prompt_ids: ids, ids: next, margins});
}
console.log(JSON.stringify(answers));
process.exit(0);
