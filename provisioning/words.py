"""What `storebox-provision doctor` says: for each finding a sentence and the next step, in French and English."""

from typing import Literal, NamedTuple

Grade = Literal["good", "warn", "bad"]


class Words(NamedTuple):
    """A finding's grade and its sentences; `{detail}` stands for what was seen."""

    grade: Grade
    fr: str
    en: str
    step_fr: str = ""
    step_en: str = ""


FINDINGS: dict[str, Words] = {
    "network": Words("good", "Réseau\N{NO-BREAK SPACE}: {detail}.", "Network: {detail}."),
    "no-address": Words(
        "bad",
        "Cette machine n’a pas d’adresse sur le réseau.",
        "This machine has no address on the network.",
        "Branchez le câble ou rejoignez le Wi-Fi du magasin.",
        "Plug in the cable, or join the shop's Wi-Fi.",
    ),
    "no-credentials": Words(
        "warn",
        "Le siège n’a pas été vérifié\N{NO-BREAK SPACE}: adresse ou jeton absent.",
        "Head office was not looked at: its address or your token is missing.",
        "Donnez --cloud, --authority et --token-file.",
        "Say --cloud, --authority and --token-file.",
    ),
    "no-dns": Words(
        "bad",
        "Le nom du siège n’est pas résolu\N{NO-BREAK SPACE}: {detail}.",
        "The name of head office does not resolve: {detail}.",
        "Vérifiez le DNS du routeur et l’adresse du siège.",
        "Check the router's DNS, and the address of head office.",
    ),
    "cloud-unreachable": Words(
        "bad",
        "Le siège ne répond pas, ou ne prouve pas son identité\N{NO-BREAK SPACE}: {detail}.",
        "Head office does not answer, or does not prove who it is: {detail}.",
        "Vérifiez la ligne, un portail captif, et l’empreinte donnée par --authority.",
        "Check the line, a captive portal, and the pin that --authority says.",
    ),
    "cloud-refused": Words(
        "bad",
        "Le siège refuse votre jeton\N{NO-BREAK SPACE}: {detail}.",
        "Head office refuses your token: {detail}.",
        "Demandez un nouveau jeton de technicien.",
        "Ask for a new technician's token.",
    ),
    "cloud-reached": Words(
        "good", "Le siège répond et prouve son identité.", "Head office answers and proves who it is."
    ),
    "cloud-plain": Words(
        "warn",
        "Le siège répond sans TLS\N{NO-BREAK SPACE}: seulement pour un essai sur cette machine.",
        "Head office answers without TLS: for a trial on this machine only.",
    ),
    "no-box": Words(
        "bad",
        "Aucun boîtier ne s’annonce sur ce réseau.",
        "No box announces itself on this network.",
        "Vérifiez son alimentation et son câble, puis donnez son adresse\N{NO-BREAK SPACE}: --box.",
        "Check its power and its cable, then say its address: --box.",
    ),
    "box-unreachable": Words(
        "bad",
        "Le boîtier ne répond pas\N{NO-BREAK SPACE}: {detail}.",
        "The box does not answer: {detail}.",
        "Vérifiez son alimentation, son câble et l’isolation des clients du Wi-Fi.",
        "Check its power, its cable, and whether the Wi-Fi keeps its clients apart.",
    ),
    "multicast-blocked": Words(
        "warn",
        "{detail} répond à son adresse, mais ne se voit pas par mDNS\N{NO-BREAK SPACE}: le multicast est bloqué ici.",
        "{detail} answers at its address but is not seen by mDNS: multicast is blocked here.",
        "Autorisez le multicast entre clients (IGMP snooping, isolation du Wi-Fi).",
        "Allow multicast among clients (IGMP snooping, Wi-Fi isolation); tills go by the address meanwhile.",
    ),
    "box-found": Words("good", "Boîtier trouvé\N{NO-BREAK SPACE}: {detail}.", "Box found: {detail}."),
    "unclaimed": Words(
        "warn",
        "{detail} n’est d’aucun magasin.",
        "{detail} is of no shop yet.",
        "Comparez l’étiquette, puis\N{NO-BREAK SPACE}: storebox-provision claim --shop … --box …",
        "Compare its label, then: storebox-provision claim --shop … --box …",
    ),
    "claim-trying": Words(
        "warn",
        "Le boîtier essaie de s’inscrire\N{NO-BREAK SPACE}: {detail}.",
        "The box is trying to enrol: {detail}.",
        "Attendez une minute\N{NO-BREAK SPACE}; sinon vérifiez sa ligne vers le siège.",
        "Wait a minute; else check its line to head office.",
    ),
    "claim-refused": Words(
        "bad",
        "Le siège a refusé l’inscription\N{NO-BREAK SPACE}: {detail}.",
        "Head office refused the enrolment: {detail}.",
        "Faites une nouvelle demande\N{NO-BREAK SPACE}: storebox-provision claim.",
        "Make a new claim: storebox-provision claim.",
    ),
    "box-plain": Words(
        "warn",
        "Le boîtier parle sans TLS\N{NO-BREAK SPACE}: seulement pour un essai sur cette machine.",
        "The box speaks without TLS: for a trial on this machine only.",
    ),
    "tls-1-2": Words(
        "warn",
        "Le boîtier accepte encore TLS 1.2.",
        "The box still takes TLS 1.2.",
        'Mettez lan.tls = "1.3" dès que les anciennes caisses sont parties.',
        'Set lan.tls = "1.3" once the old tills are gone.',
    ),
    "tls-1-3": Words("good", "Le boîtier ne parle que TLS 1.3.", "The box speaks TLS 1.3 only."),
    "not-trusted": Words(
        "bad",
        "L’autorité de la chaîne ne répond pas de {detail}.",
        "The chain's authority does not vouch for {detail}.",
        "Comparez son étiquette\N{NO-BREAK SPACE}; un inconnu se fait peut-être passer pour lui.",
        "Compare its label; a stranger may be posing as it.",
    ),
    "trusted": Words(
        "good", "L’autorité de la chaîne répond de {detail}.", "The chain's authority vouches for {detail}."
    ),
    "unknown-box": Words(
        "bad",
        "Le siège ne connaît pas {detail} dans votre magasin.",
        "Head office knows no {detail} in your shop.",
        "Il est d’un autre magasin, ou d’une autre chaîne.",
        "It is of another shop, or of another chain.",
    ),
    "box-revoked": Words(
        "bad",
        "Le boîtier a été révoqué\N{NO-BREAK SPACE}: {detail}.",
        "The box was revoked: {detail}.",
        "Remplacez-le\N{NO-BREAK SPACE}: storebox-provision swap.",
        "Replace it: storebox-provision swap.",
    ),
    "box-silent": Words(
        "bad",
        "Le siège n’a pas de nouvelles du boîtier\N{NO-BREAK SPACE}: {detail}.",
        "Head office does not hear from the box: {detail}.",
        "Vérifiez la ligne du magasin vers le siège.",
        "Check the shop's line to head office.",
    ),
    "certificate": Words(
        "good", "Certificat valable jusqu’au {detail}.", "The certificate holds until {detail}."
    ),
    "certificate-ending": Words(
        "warn",
        "Le certificat se termine le {detail}\N{NO-BREAK SPACE}: il aurait dû être renouvelé.",
        "The certificate ends on {detail}: it should have been renewed.",
        "Vérifiez la ligne vers le siège\N{NO-BREAK SPACE}; il se renouvelle seul, même terminé.",
        "Check the line to head office; it renews by itself, even once it has ended.",
    ),
    "mtools-missing": Words(
        "warn",
        "mtools n’est pas installé\N{NO-BREAK SPACE}: flash ne peut rien ajouter à une carte.",
        "mtools is not installed: flash can put no settings onto a card.",
        "Installez le paquet mtools.",
        "Install the package mtools.",
    ),
}
