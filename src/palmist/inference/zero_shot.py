"""Recognition of classes that are given as words: each class is a vector of its texts, a clip belongs to the closest.

EgoVideo's protocols (arXiv 2503.00986): of EPIC-KITCHENS-100 a class is the mean of the unit vectors of all narrations of its
verb and noun, made a unit vector again, without a template; of EGTEA it is its name in lower case, underscores as blanks.
CLIP's own (Radford et al. 2021, section 3.1.4) fills several templates with each name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from palmist.errors import InputError
from palmist.search.embedder import VideoTextEmbedder

__all__ = ["NAME_ONLY", "class_vectors", "classify"]

NAME_ONLY = ("{}",)  # the template of EGTEA and EPIC-KITCHENS-100


def class_vectors(
    embedder: VideoTextEmbedder,
    class_names: Sequence[str] | Mapping[str, Sequence[str]],
    templates: Sequence[str] = NAME_ONLY,
) -> np.ndarray:
    """Unit vectors of classes.

    Args:
        embedder: the video-text model.
        class_names: C names; or name -> its texts, for classes that have several (narrations, synonyms). Case and underscores
            do not matter: "Take_out cup" is "take out cup".
        templates: each text is put where "{}" stands; every template counts for every text.

    Returns:
        (C, E) float32 of norm 1, in the order of `class_names`: the mean over texts and templates of unit vectors.

    Raises:
        InputError: no class, an empty or repeated name, a class without texts, a template without "{}", or texts whose mean
            is zero.

    Example:
        >>> class_vectors(reader, ["lift cup", "pour milk"], ["a person's hands {}", "{}"]).shape
        (2, 96)
    """
    if isinstance(class_names, str) or isinstance(templates, str):
        raise InputError("found a single text where lists of class names and templates were expected; write ['lift cup']")
    names = list(class_names)
    if not names:
        raise InputError("found no class, expected at least one name, for example 'lift cup'")
    texts = [list(class_names[name]) if isinstance(class_names, Mapping) else [name] for name in names]
    wrong = next((template for template in templates if "{}" not in template), None)
    if wrong is not None or not templates:
        raise InputError(
            f"found the template {wrong!r}, expected a text with {{}} in the place of the class, such as 'hands {{}}'"
        )
    for name, own in zip(names, texts, strict=True):
        if isinstance(class_names, Mapping) and isinstance(class_names[name], str):
            raise InputError(
                f"class {name!r} has the text {class_names[name]!r}, expected a list of texts; write [...] around it"
            )
        if not own or not all(isinstance(text, str) and _clean(text) for text in own):
            raise InputError(f"class {name!r} has the texts {own!r}, expected at least one, none of them empty")
    cleaned = [_clean(name) for name in names]
    if len(set(cleaned)) < len(cleaned):
        twice = next(name for name in cleaned if cleaned.count(name) > 1)
        raise InputError(f"class {twice!r} is there twice; name every class once")
    filled = [[template.replace("{}", _clean(text)) for text in own for template in templates] for own in texts]
    every = sorted({text for own in filled for text in own})  # a text that two classes share is embedded once
    vectors = dict(zip(every, np.asarray(embedder.embed_texts(every), np.float64), strict=True))
    found = np.zeros((len(names), embedder.dimension))
    for row, name, own in zip(found, names, filled, strict=True):
        mean = np.mean([vectors[text] / np.linalg.norm(vectors[text]) for text in own], axis=0)
        norm = np.linalg.norm(mean)
        if not norm > 1e-8:
            raise InputError(f"the texts of class {name!r} have the mean zero, expected texts that agree; give fewer texts")
        row[:] = mean / norm
    return found.astype(np.float32)


def classify(clips: np.ndarray, classes: np.ndarray, temperature: float = 0.07) -> np.ndarray:
    """Probabilities of classes: a softmax of cosines over the temperature.

    Args:
        clips: (N, E), or (E,) for one clip. classes: (C, E), of `class_vectors`. Rows of norm 1.
        temperature: above 0; 0.07 is EgoVideo's. The order of classes does not depend on it.

    Returns:
        (N, C) float32, rows of sum 1; (C,) for one clip.

    Raises:
        InputError: shapes that do not fit, values that are not finite, or a temperature that is not above 0.

    Example:
        >>> classify(np.eye(2), np.eye(2)).argmax(1)
        array([0, 1])
    """
    clips, classes = np.asarray(clips, np.float64), np.asarray(classes, np.float64)
    if classes.ndim != 2 or clips.ndim not in (1, 2) or clips.shape[-1] != classes.shape[1] or not len(classes):
        raise InputError(f"clips have shape {clips.shape} and classes {classes.shape}, expected (N, E) and (C, E) of one model")
    if not (np.isfinite(clips).all() and np.isfinite(classes).all()):
        raise InputError("vectors hold values that are not finite, expected unit vectors; embed the clips and classes again")
    if not temperature > 0:
        raise InputError(f"found the temperature {temperature}, expected a number above 0, such as 0.07")
    logits = clips @ classes.T / temperature  # (N, C)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def _clean(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())
