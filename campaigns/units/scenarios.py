"""What happens to the box, one thing after the other, on one machine; each says what was seen and raises Failed."""

from collections.abc import Callable

from campaigns.units.box import Box
from campaigns.units.claims import Claims
from campaigns.units.failing import Failing
from campaigns.units.releases import Releases
from campaigns.units.running import Running


def all_of(box: Box) -> list[Callable[[], str]]:
    """Each with its name as a sentence, in order: one goes on with what another left."""
    releases, claims, running, failing = Releases(box), Claims(box), Running(box), Failing(box)
    return [
        releases.an_install_without_a_line_ends_with_a_box_that_waits_for_its_claim,
        claims.a_claim_comes_as_a_credential,
        claims.a_claim_comes_as_an_encrypted_credential,
        running.an_enrolled_box_starts_without_a_line,
        running.systemd_finds_no_fault,
        running.a_killed_daemon_comes_back,
        running.a_steady_run_clears_the_count_of_restarts,
        running.a_stopped_daemon_is_back_within_half_a_minute,
        running.a_daemon_that_spins_is_back_within_half_a_minute,
        running.a_stop_says_goodbye,
        releases.an_upgrade_keeps_the_journal,
        releases.a_release_that_does_not_start_is_left_with_its_units,
        failing.three_reboots_and_no_more,
        failing.what_is_degraded_tries_again_and_tells,
        failing.starts_that_hang_end_no_other_way,
        releases.an_uninstall_keeps_the_journal,
    ]
