"""What a till says to its cashier, French first. The box's own sentences come before these."""

from collections.abc import Collection, Mapping, Sequence
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
    "box-not-found": (
        "La box du magasin est introuvable (essayé : {tried}). "
        "Vérifiez qu’elle est allumée et sur le même réseau ; sinon, scannez de nouveau son code.",
        "The shop's box cannot be found (tried: {tried}). "
        "Check that it is on, and on the same network; else scan its code again.",
    ),
    "box-refuses": (
        "La box ne connaît pas cette caisse, ou plus. Appelez le responsable : il faut l’associer de nouveau.",
        "The box does not know this till, or no more. Call the manager: it must be paired again.",
    ),
    "box-not-ours": (
        "Un appareil répond, mais ce n’est pas la box de cette caisse (essayé : {tried}). "
        "Appelez le responsable, et associez de nouveau la caisse si la box a été remplacée.",
        "Something answers, but it is not this till's box (tried: {tried}). "
        "Call the manager, and pair the till again if the box was replaced.",
    ),
}
_RUNGS: dict[str, tuple[str, str]] = {
    "last": ("dernière adresse", "last address"),
    "mdns": ("recherche sur le réseau", "search on the network"),
    "list": ("adresses connues", "known addresses"),
    "locator": ("siège", "head office"),
    "manual": ("adresse donnée", "given address"),
}
_OTHER = ("Refusé : {code}. Appelez le responsable.", "Refused: {code}. Call the manager.")


def not_found(rungs: Sequence[str], outcomes: Collection[str], lang: Lang) -> str:
    """What staff can do when the box is nowhere, by where it was looked for and what came of it."""
    place = 0 if lang == "fr" else 1
    code = "box-not-found"
    if "refused" in outcomes:
        code = "box-refuses"
    elif "not-ours" in outcomes:
        code = "box-not-ours"
    tried = ", ".join(_RUNGS[rung][place] for rung in rungs)
    return _SENTENCES[code][place].format(tried=tried)


def sentence(code: str, members: Mapping[str, Any], lang: Lang) -> str:
    """The sentence of a refusal: the peer's own when it sent one, else ours for the code."""
    told = members.get("sentence")
    if isinstance(told, dict) and isinstance(told.get(lang), str):
        return str(told[lang])
    french, english = _SENTENCES.get(code, _OTHER)
    return (french if lang == "fr" else english).format(code=code)
