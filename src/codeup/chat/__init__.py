"""The one renderer: a conversation becomes token ids here, for training, evaluation, serving and export alike.

    Conversation --render--> Tokens(ids, trained)          messages --prompt--> ids up to where the answer begins

    template alpaca, first turn (one plain segment, the answer and its end apart):
        <bos> | Below is an instruction ... ### Instruction:\\n{content}\\n\\n### Response:\\n | {answer} | <eos>
          F                                    F                                             T         T    trained

Rules, the same for every template:
  * Segments are cut at the template's special tokens and where an answer begins or ends, and tokenised apart.
  * The text of a message is only ever text: "<|eot_id|>" typed by a user becomes ordinary tokens, "{{idx}}" stays.
  * Exactly one BOS if the tokenizer has one; every assistant turn and its end token are trained, nothing else is.
  * An empty system message is no system message. In llama3 and chatml a message's `input` follows its content after
    an empty line; in alpaca it has its own heading. No text is stripped: edge whitespace is part of code.

`save` writes the same template as chat_template.jinja, and for ordinary messages `apply_chat_template` gives the same
ids. Two kinds of message are not ordinary. There the ids made here are the truth, since training, evaluation and
serving all use them:
  * text that holds a special token: plain `apply_chat_template` makes that token of it; its `sanitize_control_tokens`
    does not, but cuts the text around it, so that the ids can still differ;
  * text that begins with whitespace, mostly a newline: tokenised as one string it may merge with the newline that the
    template puts before it ("Response:\\n" + "\\nx").

Not covered: tools, images, and what the tokenizer itself changes (a tokenizer that normalises Unicode decodes to the
normalised text).
"""

from codeup.chat.renderer import Renderer, base_bos_id, base_prompt_ids, load_renderer
from codeup.chat.templates import TEMPLATES, check_turns

__all__ = ["TEMPLATES", "Renderer", "base_bos_id", "base_prompt_ids", "check_turns", "load_renderer"]
