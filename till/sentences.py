"""What a till says to its cashier, French first. The box's own sentences come before these."""

from collections.abc import Mapping
from typing import Any, Literal

Lang = Literal["fr", "en"]

_SENTENCES: dict[str, tuple[str, str]] = {
    "online-only": (
        "Opération impossible hors ligne : le siège doit répondre.",
        "Not while offline: head office must answer.",
    ),
    "no-answer": (
        "Ni le siège ni la box ne répondent ; rien n’a été fait.",
        "Neither head office nor the box answers; nothing was done.",
    ),
    "outcome-unknown": (
        "Le siège n’a pas répondu à temps : l’opération est peut-être faite. Vérifiez avant de recommencer.",
        "Head office did not answer in time: it may have been done. Check before you repeat it.",
    ),
    "operation-rejected": (
        "Le siège a refusé cette opération.",
        "Head office did not accept this operation.",
    ),
    "sale-conflict": (
        "Ce ticket existe déjà avec un autre contenu. Appelez le responsable.",
        "This ticket exists with other content. Call the manager.",
    ),
    "unknown-article": (
        "Article inconnu du catalogue.",
        "The catalogue holds no such article.",
    ),
}
_OTHER = ("Refusé : {code}. Appelez le responsable.", "Refused: {code}. Call the manager.")


def sentence(code: str, members: Mapping[str, Any], lang: Lang) -> str:
    """The sentence of a refusal: the peer's own when it sent one, else ours for the code."""
    told = members.get("sentence")
    if isinstance(told, dict) and isinstance(told.get(lang), str):
        return str(told[lang])
    french, english = _SENTENCES.get(code, _OTHER)
    return (french if lang == "fr" else english).format(code=code)
