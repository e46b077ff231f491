#include "kubernetes/event_series.hpp"

#include <gtest/gtest.h>

#include <string>

namespace mizzen::kubernetes::detail {
namespace {

using namespace std::chrono_literals;
using time_point = event_series::time_point;
using kind = event_series::action::kind;

TEST(EventSeries, TheFirstIsMadeTheSecondMakesItASeries) {
  event_series events(10);
  const auto first = events.recorded("k", "ns", "first", time_point(0s));
  EXPECT_EQ(first.what, kind::create);
  EXPECT_EQ(first.name, "first");
  const auto second = events.recorded("k", "ns", "second", time_point(1s));
  EXPECT_EQ(second.what, kind::update);
  EXPECT_EQ(second.name, "first");
  EXPECT_EQ(second.namespace_, "ns");
  EXPECT_EQ(second.count, 2);
  EXPECT_EQ(events.recorded("k", "ns", "third", time_point(2s)).what, kind::none);
  EXPECT_EQ(events.recorded("other", "ns", "another", time_point(2s)).what, kind::create);
}

TEST(EventSeries, ASeriesEndsAfterSixQuietMinutesWithItsFinalCount) {
  event_series events(10);
  for (int i = 0; i < 5; ++i) events.recorded("k", "ns", "a", time_point(std::chrono::seconds(i)));
  EXPECT_TRUE(events.due(time_point(4s + 6min - 1s)).empty());
  const auto due = events.due(time_point(4s + 6min));
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].count, 5);
  EXPECT_EQ(due[0].last, time_point(4s));
  EXPECT_EQ(events.size(), 0U);
  EXPECT_EQ(events.recorded("k", "ns", "b", time_point(20min)).what, kind::create);
}

TEST(EventSeries, WhatWasWrittenIsNotWrittenAgain) {
  event_series events(10);
  events.recorded("single", "ns", "a", time_point(0s));
  events.recorded("twice", "ns", "b", time_point(0s));
  events.recorded("twice", "ns", "b", time_point(1s));
  EXPECT_TRUE(events.due(time_point(1h)).empty());
  EXPECT_EQ(events.size(), 0U);
}

TEST(EventSeries, ALongSeriesIsRefreshed) {
  event_series events(10);
  int updates = 0;
  for (int minute = 0; minute <= 100; ++minute) {
    events.recorded("k", "ns", "a", time_point(std::chrono::minutes(minute)));
    updates += static_cast<int>(events.due(time_point(std::chrono::minutes(minute))).size());
  }
  EXPECT_EQ(updates, 3);
}

TEST(EventSeries, MemoryIsBounded) {
  event_series events(3);
  for (int i = 0; i < 100; ++i) {
    events.recorded(std::to_string(i), "ns", "a", time_point(0s));
    events.recorded("kept", "ns", "a", time_point(0s));
    EXPECT_LE(events.size(), 3U);
  }
  EXPECT_EQ(events.recorded("kept", "ns", "a", time_point(0s)).what, kind::none);
  EXPECT_EQ(events.recorded("0", "ns", "a", time_point(0s)).what, kind::create);
  events.forget("kept");
  events.forget("unknown");
  EXPECT_EQ(events.recorded("kept", "ns", "a", time_point(0s)).what, kind::create);
}

}  // namespace
}  // namespace mizzen::kubernetes::detail
