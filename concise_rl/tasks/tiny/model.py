"""The embedded reasoner's tokenizer and architecture: a word-level Llama of about 0.9M parameters."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from concise_rl.files import open_up

PAD, EOS, USER, ASSISTANT, UNK = "<pad>", "<eos>", "<user>", "<assistant>", "<unk>"
THINK_TOKENS = ("<think>", "</think>")
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<assistant>{{ m['content'] }}<eos>"
    "{% else %}<user>{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
# The task's sentence, the words of the traces, and the texts that early-exit methods force, so that they stay in
# vocabulary.
WORDS = (
    *("State", "the", "final", "answer", "to", "following", "arithmetic", "problem", "Wait", "let", "me", "check"),
    *("Hmm", "again", "But", "is", "it", "right", "Alternatively", "go", "Let", "So", "Yes", "No", "Time", "limited"),
    *("stop", "thinking", "and", "start", "answering", "I", "have", "enough", "information", "get", "Therefore"),
    *("boxed", "Think", "for", "maximum", "tokens", "Okay", "think", "wait", "step", "by", "Answer", "The"),
)
CONTEXT_LENGTH = 1024


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level, lossless on its own texts: a token is a word, a digit or a sign, with the space before it if any."""
    pieces = [*WORDS, *map(str, range(10)), *"+-=.,:?*/\\{}()"]
    special = [PAD, EOS, UNK, USER, ASSISTANT]
    vocabulary = [*special, *THINK_TOKENS, "\n\n", "\n", " ", *pieces, *(f" {piece}" for piece in pieces)]
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(dict.fromkeys(vocabulary))}, unk_token=UNK)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z0-9]|\s"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    # Like DeepSeek-R1's and Qwen3's: the think delimiters are added tokens but not special, so decoding keeps them.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    """The untrained reasoner."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    # transformers' own defaults for sampling differ between releases; ours are written down: the full distribution.
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return model


def write_untrained(folder: Path, seed: int = 0) -> Path:
    """Write the untrained model and its tokenizer to `folder`, where `from_pretrained` finds them."""
    tokenizer = build_tokenizer()
    build_model(tokenizer, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    open_up(folder)
    return folder
