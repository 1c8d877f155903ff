"""The suite's basics once more, on a Cluster and on a primary that sentinels watch, in every form of the library."""

# ruff: noqa: F401
from tests.conformance.test_adding import (
    test_add_returns_the_job,
    test_concurrent_adds_all_arrive,
    test_the_stream_holds_exactly_what_the_wire_format_says,
)
from tests.conformance.test_bulk import (
    test_duplicates_are_told_per_row,
    test_every_form_of_a_row_and_every_mix_of_options_in_order,
)
from tests.conformance.test_closing import test_what_has_not_started_goes_to_the_next_worker_at_once
from tests.conformance.test_dead_letters import test_the_whole_way_a_job_fails_is_seen_replayed_and_done
from tests.conformance.test_delaying import (
    test_a_delayed_job_runs_when_it_is_due_and_not_before,
    test_a_delayed_job_with_an_id_can_be_removed_and_added_again,
    test_an_earlier_job_added_later_wakes_the_promoter,
)
from tests.conformance.test_events import test_a_job_that_fails_is_retried_and_given_up
from tests.conformance.test_failing import test_a_job_without_runs_left_becomes_a_dead_letter_that_tells_why
from tests.conformance.test_following import test_every_event_is_told_typed
from tests.conformance.test_producer_events import (
    test_a_duplicate_is_not_told,
    test_every_row_of_a_bulk_add_is_told_in_its_place,
    test_told_adds_are_worked_and_followed,
)
from tests.conformance.test_repeating import test_it_fires_again_and_again
from tests.conformance.test_results import test_the_result_can_be_waited_for_and_read
from tests.conformance.test_running import test_every_job_runs_once
from tests.conformance.test_uniqueness import test_of_many_at_once_one_wins
from tests.conformance.test_waiting import test_results_of_a_real_worker_come_to_all_who_wait
