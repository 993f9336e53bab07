"""What the fleet page says, in French and English: labels, reasons, durations."""

from typing import Literal

Language = Literal["fr", "en"]
LANGUAGES: tuple[Language, ...] = ("fr", "en")

LABELS: dict[Language, dict[str, str]] = {
    "fr": {
        "title": "Parc des boîtiers",
        "empty": "Aucun boîtier n’est encore inscrit.",
        "shop": "Magasin",
        "verdict": "État",
        "line": "Ligne",
        "heard": "Dernières nouvelles",
        "backlog": "En attente d’envoi",
        "heads": "Journal siège / boîtier",
        "catalogue": "Catalogue",
        "software": "Logiciel",
        "oldest": "le plus ancien\N{NO-BREAK SPACE}: {age}",
        "epoch": "époque {epoch}",
        "exceptions_one": "1 exception à traiter",
        "exceptions_many": "{count} exceptions à traiter",
        "ago": "il y a {age}",
        "never": "jamais",
        "nothing": "rien",
        "online": "en ligne",
        "degraded": "dégradée",
        "offline": "coupée",
        "mode_cloud": "ventes vers le siège",
        "mode_local": "ventes en local",
        "refreshed": "Actualisé à {at} UTC ; la page se recharge toutes les 5 secondes.",
        "in_force": "Catalogue {catalogue}, règles {policy}",
        "language": "Langue",
        "all": "{count} boîtiers",
        "all_one": "1 boîtier",
        "healthy": "Tout va bien",
        "warning": "À surveiller",
        "unhealthy": "À traiter",
        "unknown": "Inconnu",
    },
    "en": {
        "title": "Fleet of boxes",
        "empty": "No box has enrolled yet.",
        "shop": "Shop",
        "verdict": "Health",
        "line": "Line",
        "heard": "Last heard",
        "backlog": "Waiting to be sent",
        "heads": "Journal cloud / box",
        "catalogue": "Catalogue",
        "software": "Software",
        "oldest": "oldest: {age}",
        "epoch": "epoch {epoch}",
        "exceptions_one": "1 exception to look at",
        "exceptions_many": "{count} exceptions to look at",
        "ago": "{age} ago",
        "never": "never",
        "nothing": "nothing",
        "online": "online",
        "degraded": "degraded",
        "offline": "offline",
        "mode_cloud": "selling to head office",
        "mode_local": "selling locally",
        "refreshed": "Refreshed at {at} UTC; the page reloads every 5 seconds.",
        "in_force": "Catalogue {catalogue}, policy {policy}",
        "language": "Language",
        "all": "{count} boxes",
        "all_one": "1 box",
        "healthy": "All well",
        "warning": "Keep an eye on it",
        "unhealthy": "Needs attention",
        "unknown": "Unknown",
    },
}

# By the code of appliance/domain/health.py and the issues that boxes report; an unknown code stands for itself.
REASONS: dict[Language, dict[str, str]] = {
    "fr": {
        "never-seen": "n’a encore rien dit",
        "silent": "plus de nouvelles depuis plus de 90 secondes",
        "disk-nearly-full": "le disque est presque plein",
        "disk-filling": "le disque se remplit",
        "sales-waiting": "des ventes attendent alors que la ligne fonctionne",
        "long-outage": "ligne coupée depuis plus de quatre heures",
        "link-degraded": "la ligne vers le siège est dégradée",
        "link-offline": "la ligne vers le siège est coupée",
        "all-well": "rien à signaler",
        "storage-fault": "panne de stockage\N{NO-BREAK SPACE}: plus aucune vente acceptée",
        "drain-stopped-fork": "deux suites différentes du même journal\N{NO-BREAK SPACE}: envois arrêtés",
        "drain-stopped-gap": "il manque des événements au siège\N{NO-BREAK SPACE}: envois arrêtés",
        "drain-stopped-bad-signature": "une signature n’est pas valable\N{NO-BREAK SPACE}: envois arrêtés",
        "drain-stopped-cloud-refused": "le siège refuse les envois",
    },
    "en": {
        "never-seen": "has not said anything yet",
        "silent": "not heard for more than 90 seconds",
        "disk-nearly-full": "the disk is nearly full",
        "disk-filling": "the disk is filling up",
        "sales-waiting": "sales are waiting although the line works",
        "long-outage": "line down for more than four hours",
        "link-degraded": "the line to head office is degraded",
        "link-offline": "the line to head office is down",
        "all-well": "nothing to report",
        "storage-fault": "storage failed: no more sales are accepted",
        "drain-stopped-fork": "two different continuations of one journal: sending has stopped",
        "drain-stopped-gap": "head office lacks events: sending has stopped",
        "drain-stopped-bad-signature": "a signature does not hold: sending has stopped",
        "drain-stopped-cloud-refused": "head office refuses what the box sends",
    },
}

CAUSES: dict[Language, dict[str, str]] = {
    "fr": {
        "starting": "démarrage",
        "proving": "retour en cours de vérification",
        "slow": "trop lente",
        "lossy": "des réponses se perdent",
        "no-link": "câble ou Wi-Fi débranché",
        "no-gateway": "pas de routeur",
        "no-dns": "pas de DNS",
        "no-answer": "pas de réponse",
        "captive-portal": "portail captif",
        "tls": "certificat refusé",
        "clock": "horloge fausse",
        "cloud-down": "siège en panne",
        "refused": "refusé par le siège",
    },
    "en": {
        "starting": "starting",
        "proving": "proving that it is back",
        "slow": "too slow",
        "lossy": "answers get lost",
        "no-link": "cable or Wi-Fi unplugged",
        "no-gateway": "no router",
        "no-dns": "no DNS",
        "no-answer": "no answer",
        "captive-portal": "captive portal",
        "tls": "certificate refused",
        "clock": "wrong clock",
        "cloud-down": "head office is down",
        "refused": "refused by head office",
    },
}

_DAY: dict[Language, str] = {"fr": "j", "en": "d"}
# What a box says may be absurd; the page still has to fit.
_AGE_MAX_S = 1_000 * 86_400


def choose(asked: str | None, accepted: str) -> Language:
    """The language for a page: asked for by name, else the browser's first one that we speak, else French."""
    preferred = [asked or "", *(part.split(";")[0].strip()[:2].lower() for part in accepted.split(","))]
    return next((language for name in preferred for language in LANGUAGES if language == name), "fr")


def age(seconds: float, language: Language) -> str:
    """A duration as a person says it: one or two units, held together by no-break spaces."""
    whole = int(min(max(seconds, 0.0), _AGE_MAX_S))
    if whole < 60:
        text = f"{whole} s"
    elif whole < 3_600:
        text = f"{whole // 60} min"
    elif whole < 86_400:
        text = f"{whole // 3_600} h {whole % 3_600 // 60:02d}"
    else:
        text = f"{whole // 86_400} {_DAY[language]} {whole % 86_400 // 3_600} h"
    return text.replace(" ", "\N{NO-BREAK SPACE}")
