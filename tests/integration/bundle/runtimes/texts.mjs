// Texts to tokens and to words, the way a page would do it: node texts.mjs texts.json > made.json
import fs from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

const { tokenizer, texts, pairs } = JSON.parse(fs.readFileSync(process.argv[2]));
const made = new Tokenizer(JSON.parse(tokenizer), {});
const tokens = texts.map((text) => made.encode(text).ids);
const paired = pairs.map(([text, other]) => {
  const { ids, token_type_ids } = made.encode(text, { text_pair: other, return_token_type_ids: true });
  return { ids, types: token_type_ids };
});
const words = texts.map((text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? []);
console.log(JSON.stringify({ tokens, paired, words }));
