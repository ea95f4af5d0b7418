/** What a prompt template is to the rest: it turns an example into pieces of text, learnt or not. */
import type { TextPiece } from "../../text/conversation.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Example } from "../examples.ts";

/** An example as text. */
export interface Rendered {
  readonly pieces: readonly TextPiece[];
  /** Whether the end token is appended and learnt. */
  readonly appendEos: boolean;
}

export interface PromptTemplate {
  /** Tells this template from others: its name, or a hash of its file; part of the key of the token cache. */
  readonly identity: string;
  /**
   * Whether the bos goes first: "always" where the model has one, or "as-tokenizer" where its tokenizer adds one by itself.
   * Never where the text already begins with it.
   */
  readonly bos: "always" | "as-tokenizer";
  /** Throws FedtuneError "data" for an example of a kind that the template has no form for. */
  render(example: Example): Rendered;
}

/** What templates that follow a model need to know. */
export interface TemplateContext {
  readonly tokenizer: Tokenizer;
  /** Put before conversations that have no system message. */
  readonly system?: string;
}
