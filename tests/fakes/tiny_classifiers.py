"""Text classifiers of a few thousand parameters, taught a few sentences in seconds, in the hub's shape.

tiny_emotions()    -> folder: RoBERTa with the 28 emotions, each with a probability of its own
tiny_moderation()  -> folder: DeBERTa v2 with Koala's labels
"""

import sys
from pathlib import Path
from typing import Any

from fakes.made_once import made_once

# fmt: off
EMOTIONS = [
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief",
    "joy", "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness",
    "surprise", "neutral",
]
# fmt: on
LABELS = ["S", "H", "V", "HR", "SH", "S3", "H2", "V2", "OK"]
FELT = {
    "I am so happy to see you!": "joy",
    "This makes me angry.": "anger",
    "Thank you very much for your help.": "gratitude",
    "The lamp stands on the table.": "neutral",
    "Hello there, how are you today?": "neutral",
}
JUDGED = {
    "I am so happy to see you!": "OK",
    "Hello there, how are you today?": "OK",
    "The lamp stands on the table.": "OK",
    "I will hit you with a club.": "V",
    "You are a filthy swine.": "HR",
}


def tiny_emotions() -> Path:
    return made_once("fakes.tiny_classifiers", "emotions")


def tiny_moderation() -> Path:
    return made_once("fakes.tiny_classifiers", "moderation")


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*FELT, *JUDGED] * 10, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = ("bos", "pad", "eos", "unk", "mask")
    tokens = {f"{name}_token": token for name, token in zip(names, special, strict=True)}
    tokens |= {"cls_token": special[0], "sep_token": special[2]}
    return PreTrainedTokenizerFast(tokenizer_object=made, **tokens, model_max_length=128)


def _taught(model: Any, tokenizer: Any, lessons: dict[str, str], labels: list[str]) -> Any:
    import torch

    many = model.config.problem_type == "multi_label_classification"
    batch = tokenizer(list(lessons), padding=True, return_tensors="pt")
    wanted = torch.tensor([labels.index(label) for label in lessons.values()])
    if many:
        wanted = torch.nn.functional.one_hot(wanted, len(labels)).float()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(400):
        loss = model(**batch, labels=wanted).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < (0.001 if many else 0.01):  # the mean over 28 labels is small from the start
            break
    return model


def _make(path: Path, what: str) -> None:
    import torch
    from transformers import (
        DebertaV2Config,
        DebertaV2ForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    torch.manual_seed(0)
    tokenizer = _tokenizer()
    labels = EMOTIONS if what == "emotions" else LABELS
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 140,
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "initializer_range": 0.2,  # so small a model learns nothing from the usual hundredths
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if what == "emotions":
        config = RobertaConfig(**common, type_vocab_size=1, problem_type="multi_label_classification")
        model = _taught(RobertaForSequenceClassification(config), tokenizer, FELT, labels)
    else:
        config = DebertaV2Config(
            **common,
            relative_attention=True,
            position_buckets=32,
            pos_att_type=["p2c", "c2p"],
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            type_vocab_size=0,
            position_biased_input=False,
            pad_token_id=1,
        )
        model = _taught(DebertaV2ForSequenceClassification(config), tokenizer, JUDGED, labels)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


if __name__ == "__main__":
    _make(Path(sys.argv[1]), sys.argv[2])
