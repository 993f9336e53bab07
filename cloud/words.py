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
        "identity": "Identité",
        "certificate_left": "certificat\N{NO-BREAK SPACE}: encore {age}",
        "certificate_ended": "certificat terminé depuis {age}",
        "revoked_on": "révoqué le {date}",
        "multicast_blocked": "multicast bloqué ici",
        "tills_one": "1 caisse appairée",
        "tills_many": "{count} caisses appairées",
        "oldest": "le plus ancien\N{NO-BREAK SPACE}: {age}",
        "epoch": "époque {epoch}",
        "exceptions_one": "1 exception à traiter",
        "exceptions_many": "{count} exceptions à traiter",
        "flags": "Ventes signalées\N{NO-BREAK SPACE}: {flags}",
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
        "image": "image {version}",
        "update_fetching": "mise à jour {version}\N{NO-BREAK SPACE}: reçue à {percent}\N{NO-BREAK SPACE}%",
        "update_fetched": "mise à jour {version}\N{NO-BREAK SPACE}: attend un moment calme",
        "update_installing": "mise à jour {version}\N{NO-BREAK SPACE}: installation",
        "update_installed": "mise à jour {version}\N{NO-BREAK SPACE}: attend de redémarrer",
        "update_restarting": "mise à jour {version}\N{NO-BREAK SPACE}: redémarrage",
        "updated": "mise à jour {version}\N{NO-BREAK SPACE}: en service",
        "update_refused": "mise à jour {version} refusée\N{NO-BREAK SPACE}: {reason}",
        "update_rolled_back": "mise à jour {version} annulée\N{NO-BREAK SPACE}: {reason}",
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
        "identity": "Identity",
        "certificate_left": "certificate: {age} left",
        "certificate_ended": "certificate ended {age} ago",
        "revoked_on": "revoked on {date}",
        "multicast_blocked": "multicast blocked here",
        "tills_one": "1 paired till",
        "tills_many": "{count} paired tills",
        "oldest": "oldest: {age}",
        "epoch": "epoch {epoch}",
        "exceptions_one": "1 exception to look at",
        "exceptions_many": "{count} exceptions to look at",
        "flags": "Flagged sales: {flags}",
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
        "image": "image {version}",
        "update_fetching": "update {version}: {percent} % received",
        "update_fetched": "update {version}: waits for a quiet moment",
        "update_installing": "update {version}: installing",
        "update_installed": "update {version}: waits to restart",
        "update_restarting": "update {version}: restarting",
        "updated": "update {version}: in service",
        "update_refused": "update {version} refused: {reason}",
        "update_rolled_back": "update {version} taken back: {reason}",
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
        "revoked": "révoqué\N{NO-BREAK SPACE}: le siège ne le croit plus",
        "multicast-blocked": "le multicast est bloqué dans ce magasin",
        "mdns-name-conflict": "un autre appareil porte le même nom sur le réseau",
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
        "rolled-back": "carte restaurée ou clonée\N{NO-BREAK SPACE}: envois arrêtés",
        "disk-full": "le disque est plein\N{NO-BREAK SPACE}: plus aucune vente acceptée",
        "drain-stopped-gap": "il manque des événements au siège\N{NO-BREAK SPACE}: envois arrêtés",
        "drain-stopped-bad-signature": "une signature n’est pas valable\N{NO-BREAK SPACE}: envois arrêtés",
        "drain-stopped-cloud-refused": "le siège refuse les envois",
        "failed-starts": "le boîtier n’arrivait plus à démarrer",
        "retention-stopped": "le journal est abîmé\N{NO-BREAK SPACE}: rien n’en est plus effacé",
        "update-rolled-back": "une mise à jour a été annulée",
    },
    "en": {
        "never-seen": "has not said anything yet",
        "revoked": "revoked: head office no longer believes it",
        "multicast-blocked": "multicast is blocked in this shop",
        "mdns-name-conflict": "another device has the same name on the network",
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
        "rolled-back": "the card was restored or cloned: sending has stopped",
        "disk-full": "the disk is full: no more sales are accepted",
        "drain-stopped-gap": "head office lacks events: sending has stopped",
        "drain-stopped-bad-signature": "a signature does not hold: sending has stopped",
        "drain-stopped-cloud-refused": "head office refuses what the box sends",
        "failed-starts": "the box could not start for a while",
        "retention-stopped": "the journal is damaged: nothing is freed from it any more",
        "update-rolled-back": "an update was taken back",
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

# By the flag of a sale (appliance/domain/flags.py); an unknown one stands for itself.
FLAGS: dict[Language, dict[str, str]] = {
    "fr": {
        "line-gross": "montant d’une ligne faux",
        "line-net": "hors taxe d’une ligne faux",
        "total-lines": "total des lignes faux",
        "total-tenders": "total des paiements faux",
        "vat-totals": "totaux de TVA faux",
        "unknown-article": "article inconnu",
        "price-mismatch": "prix différent du catalogue",
        "business-date": "jour de vente douteux",
        "clock-back": "horloge de caisse reculée",
        "ticket-number-reused": "numéro de ticket utilisé deux fois",
        "ticket-gap": "numéros de ticket manquants",
    },
    "en": {
        "line-gross": "wrong line amount",
        "line-net": "wrong line net",
        "total-lines": "lines do not make the total",
        "total-tenders": "payments do not make the total",
        "vat-totals": "wrong VAT totals",
        "unknown-article": "unknown article",
        "price-mismatch": "price not in the catalogue",
        "business-date": "doubtful business date",
        "clock-back": "till clock went back",
        "ticket-number-reused": "ticket number used twice",
        "ticket-gap": "ticket numbers missing",
    },
}

# By appliance/domain/update.py; an unknown one stands for itself.
UPDATE_REASONS: dict[Language, dict[str, str]] = {
    "fr": {
        "bad-signature": "signature non valable",
        "superseded": "offre dépassée",
        "other-hardware": "pour un autre matériel",
        "older-than-allowed": "trop ancienne",
        "already-there": "déjà en service",
        "too-large": "trop volumineuse",
        "other-bundle": "le fichier n’est pas celui annoncé",
        "not-installed": "l’installation a échoué",
        "never-came-up": "n’a jamais démarré",
        "journal-unproven": "le journal n’a pas pu être vérifié",
        "port-silent": "ne répondait pas aux caisses",
        "mdns-silent": "introuvable sur le réseau du magasin",
        "sale-failed": "la vente d’essai a échoué",
        "too-slow": "n’était pas prête à temps",
        "not-committed": "n’a pas pu être confirmée",
    },
    "en": {
        "bad-signature": "the signature does not hold",
        "superseded": "a later offer came before",
        "other-hardware": "for other hardware",
        "older-than-allowed": "older than allowed",
        "already-there": "in service already",
        "too-large": "too large",
        "other-bundle": "the file is not the one announced",
        "not-installed": "it could not be installed",
        "never-came-up": "it never came up",
        "journal-unproven": "the journal could not be proven",
        "port-silent": "tills got no answer",
        "mdns-silent": "not found on the shop's network",
        "sale-failed": "the trial sale failed",
        "too-slow": "not ready in time",
        "not-committed": "could not be confirmed",
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
