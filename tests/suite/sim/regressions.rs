//! Every seed that ever failed, under the name of what it found.

use super::seeds::{Length, check};

fn check_seed(seed: u64) {
    check(seed..seed + 1, Length::Long, None);
}

#[test]
fn an_orphan_is_stopped_only_after_the_edge_has_let_go_of_it() {
    check_seed(8);
    check_seed(27);
}

#[test]
fn a_supervisor_that_starts_without_an_engine_takes_no_route_away() {
    check_seed(42);
    check_seed(145);
}

#[test]
fn a_replica_that_serves_does_not_give_way_to_ones_that_are_only_being_born() {
    check_seed(12);
    check_seed(35);
    check_seed(47);
}

#[test]
fn a_created_replica_that_is_not_wanted_any_more_is_removed_and_not_stopped_for_ever() {
    check_seed(19);
    check_seed(46);
}

#[test]
fn a_request_that_is_over_stays_over() {
    check_seed(0);
    check_seed(7);
}

#[test]
fn an_overdue_replica_of_an_earlier_supervisor_leaves_the_table_before_it_is_stopped() {
    check_seed(34);
}
