"""The ear of `make units`: it counts the records that end, and nothing else."""

from zeroconf._dns import DNSPointer, DNSQuestion
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _FLAGS_QR_RESPONSE, _TYPE_PTR

from campaigns.units.goodbyes import goodbyes

TYPE = "_storebox._tcp.local."


def a_pointer(ttl_s: int, name: str) -> DNSPointer:
    return DNSPointer(TYPE, _TYPE_PTR, _CLASS_IN, ttl_s, f"{name}.{TYPE}", 0.0)


def test_only_records_without_time_to_live_are_goodbyes() -> None:
    out = DNSOutgoing(_FLAGS_QR_RESPONSE)
    for ttl_s, name in ((0, "one"), (4_500, "two"), (0, "three")):
        out.add_answer_at_time(a_pointer(ttl_s, name), 0.0)

    assert [goodbyes(packet) for packet in out.packets()] == [2]


def test_a_question_says_no_goodbye() -> None:
    out = DNSOutgoing(_FLAGS_QR_QUERY)
    out.add_question(DNSQuestion(TYPE, _TYPE_PTR, _CLASS_IN))
    out.add_answer_at_time(a_pointer(0, "known"), 0.0)

    assert [goodbyes(packet) for packet in out.packets()] == [0]
