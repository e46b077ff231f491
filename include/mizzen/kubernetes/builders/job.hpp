// Jobs and CronJobs.
#pragma once

#include <mizzen/core/checked.hpp>
#include <mizzen/kubernetes/builders/object.hpp>
#include <mizzen/kubernetes/builders/pod.hpp>
#include <mizzen/kubernetes/types/batch_v1.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

namespace detail {

void add_exit_code_rule(batch_v1::job_spec& to, std::string action, std::vector<std::int32_t> codes,
                        std::string op);
void ignore_disruptions(batch_v1::job_spec& to);
void add_success_rule(batch_v1::job_spec& to, std::string indexes, std::int32_t count);

}  // namespace detail

// The setters of a Job, shared by `job` and `cron_job`. Self brings job_spec(). Pods are not
// restarted in place (restartPolicy Never) unless restart_policy("OnFailure") says so; a failed one
// is replaced, up to the backoff limit (6 if none is set).
template <class Self>
class job_setters : public pod_setters<Self> {
 public:
  // Pods that must succeed, and how many may run at once.
  Self& completions(std::int32_t value) {
    return with([&](auto& j) { j.completions = value; });
  }
  Self& parallelism(std::int32_t value) {
    return with([&](auto& j) { j.parallelism = value; });
  }
  // An indexed Job: one pod for each index from 0, all at once, each of which finds its own in
  // JOB_COMPLETION_INDEX.
  Self& indexed(std::int32_t count) {
    return with([&](auto& j) {
      j.completion_mode = "Indexed";
      j.completions = count;
      if (!j.parallelism) j.parallelism = count;
    });
  }
  // Retries, of the whole Job or (indexed Jobs only) of each index.
  Self& backoff_limit(std::int32_t value) {
    return with([&](auto& j) { j.backoff_limit = value; });
  }
  Self& backoff_limit_per_index(std::int32_t value) {
    return with([&](auto& j) { j.backoff_limit_per_index = value; });
  }
  Self& max_failed_indexes(std::int32_t value) {
    return with([&](auto& j) { j.max_failed_indexes = value; });
  }
  // Ends the Job as failed (DeadlineExceeded) when it has been active so long.
  Self& active_deadline(std::chrono::seconds value) {
    return with([&](auto& j) { j.active_deadline_seconds = value.count(); });
  }
  // Deletes the Job so long after it finished.
  Self& ttl(std::chrono::seconds value) {
    return with([&](auto& j) {
      j.ttl_seconds_after_finished = narrow<std::int32_t>(value.count(), "ttl");
    });
  }
  // Makes no pods until it is resumed.
  Self& suspend(bool value = true) {
    return with([&](auto& j) { j.suspend = value; });
  }
  // "TerminatingOrFailed" or "Failed": when a pod that ends is replaced.
  Self& pod_replacement_policy(std::string value) {
    return with([&](auto& j) { j.pod_replacement_policy = std::move(value); });
  }

  // Pod failure policy: what a failure of the main container, or of a pod, means. Rules hold in the
  // order in which they were given.
  Self& fail_job_on_exit_codes(std::vector<std::int32_t> codes) {
    return on_exit_codes("FailJob", std::move(codes));
  }
  Self& fail_index_on_exit_codes(std::vector<std::int32_t> codes) {
    return on_exit_codes("FailIndex", std::move(codes));
  }
  Self& ignore_exit_codes(std::vector<std::int32_t> codes) {
    return on_exit_codes("Ignore", std::move(codes));
  }
  // Evictions, preemptions and lost nodes do not count against the backoff limit.
  Self& ignore_disruptions() {
    return with([](auto& j) { detail::ignore_disruptions(j); });
  }

  // Success policy of an indexed Job: done when these indexes ("0,2-4"; empty: any) succeeded, or
  // so many of them (0: all of them).
  Self& succeed_when(std::string indexes, std::int32_t count = 0) {
    return with([&](auto& j) { detail::add_success_rule(j, std::move(indexes), count); });
  }

  // For pod_setters.
  core_v1::pod_spec& pod_spec() { return self().job_spec().template_.spec; }
  meta_v1::object_meta& pod_metadata() { return self().job_spec().template_.metadata; }

 protected:
  job_setters() = default;
  ~job_setters() = default;

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }

  Self& on_exit_codes(const char* action, std::vector<std::int32_t> codes) {
    return with([&](auto& j) { detail::add_exit_code_rule(j, action, std::move(codes), "In"); });
  }
  template <class What>
  Self& with(What&& what) {
    what(self().job_spec());
    return self();
  }
};

// `job{"train"}.image(img).command({"./train"}).gpus(2)`.
class job : public object_builder<job, batch_v1::job>, public job_setters<job> {
 public:
  explicit job(std::string name) : object_builder(std::move(name)) { restart_policy("Never"); }

  batch_v1::job_spec& job_spec() noexcept { return object_.spec; }

  // Hands the Job to Kueue: created suspended, resumed when the queue has room for it.
  job& queue(std::string local_queue) {
    label("kueue.x-k8s.io/queue-name", std::move(local_queue));
    return suspend();
  }

 private:
  using object_builder<job, batch_v1::job>::self;
};

// `cron_job{"nightly", "0 3 * * *"}.image(img).command({"./report"})`.
class cron_job : public object_builder<cron_job, batch_v1::cron_job>, public job_setters<cron_job> {
 public:
  cron_job(std::string name, std::string schedule) : object_builder(std::move(name)) {
    object_.spec.schedule = std::move(schedule);
    restart_policy("Never");
  }

  batch_v1::job_spec& job_spec() { return object_.spec.job_template.spec; }

  // IANA name: "Europe/Berlin".
  cron_job& time_zone(std::string value) {
    object_.spec.time_zone = std::move(value);
    return *this;
  }
  // "Allow", "Forbid" or "Replace": what happens when the last run is still going.
  cron_job& concurrency(std::string value) {
    object_.spec.concurrency_policy = std::move(value);
    return *this;
  }
  cron_job& starting_deadline(std::chrono::seconds value) {
    object_.spec.starting_deadline_seconds = value.count();
    return *this;
  }
  // Finished Jobs that are kept.
  cron_job& history(std::int32_t succeeded, std::int32_t failed) {
    object_.spec.successful_jobs_history_limit = succeeded;
    object_.spec.failed_jobs_history_limit = failed;
    return *this;
  }
  // No more runs until it is resumed. (Of the schedule; job_setters::suspend is of each Job.)
  cron_job& pause(bool value = true) {
    object_.spec.suspend = value;
    return *this;
  }

 private:
  using object_builder<cron_job, batch_v1::cron_job>::self;
};

}  // namespace mizzen::kubernetes
