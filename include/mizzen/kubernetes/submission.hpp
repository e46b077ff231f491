// Submitting work: a Job or Pod that is created once, waited for, followed and ended.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/builders/job.hpp>
#include <mizzen/kubernetes/builders/pod.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/explain.hpp>
#include <mizzen/kubernetes/journal.hpp>
#include <mizzen/kubernetes/logs.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// How a container of a submission ended.
struct container_exit {
  std::string pod = {};
  std::string container = {};
  std::string node = {};
  std::optional<std::int32_t> index = {};  // of an indexed Job
  std::int32_t exit_code = 0;
  std::string reason = {};   // "Completed", "Error", "OOMKilled" …
  std::string message = {};  // of its termination message file

  friend bool operator==(const container_exit&, const container_exit&) = default;
};

enum class outcome_state : std::uint8_t {
  succeeded,
  failed,
  lost,  // it was deleted before anybody saw how it ended; it may have run, and is not run again
};

std::string_view to_string(outcome_state state) noexcept;

struct outcome {
  outcome_state state = outcome_state::lost;
  std::string reason = {};   // "BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy" …
  std::string message = {};  // as the server says it
  std::int32_t succeeded_pods = 0;
  std::int32_t failed_pods = 0;
  std::string succeeded_indexes = {};  // of an indexed Job: "0-3,5"; see expand_indexes
  std::string failed_indexes = {};
  // Of the pods that were still there: failures first.
  std::vector<container_exit> exits = {};

  bool succeeded() const noexcept { return state == outcome_state::succeeded; }
  friend bool operator==(const outcome&, const outcome&) = default;
};

json to_json_value(const outcome& value);
outcome outcome_from_json(const json& value);  // lenient: what is missing or wrong is left out

// "0-3,5": {0, 1, 2, 3, 5}. Throws error(invalid_argument) for other text,
// error(resource_exhausted) for more than `most` numbers.
std::vector<std::int32_t> expand_indexes(std::string_view text, std::size_t most = 1'000'000);

// One word and a sentence on where a submission stands.
struct submission_status {
  bool exists = false;
  bool suspended = false;
  std::int32_t active = 0;
  std::int32_t ready = 0;
  std::int32_t succeeded = 0;
  std::int32_t failed = 0;
  std::optional<outcome> ended = {};  // once it has ended (without exits)
};

struct submit_options {
  // Remembers the submission: a submitter that is killed anywhere and started again makes no second
  // object, also when the first one has finished and was deleted meanwhile. While it is being
  // recorded, a Job is created suspended and resumed after that, so that nothing runs that is not
  // on record; a Job that is submitted suspended (or to Kueue) is left to whoever resumes it.
  std::optional<kubernetes::journal> journal = {};

  // Makes the name "<name>-<10 hexadecimal digits of this>": one key, one object, however often it
  // is submitted. Empty: the name as it is.
  std::string key = {};

  mizzen::cancellation cancel = {};
};

struct wait_options {
  // Hears each change of the status. Runs on the client's executor; must not throw.
  std::function<void(const submission_status&)> on_change = {};
  mizzen::cancellation cancel = {};
};

struct cancel_options {
  // Keeps the Job, and deletes its pods, instead of deleting it; resume() goes on.
  bool suspend = false;
  mizzen::cancellation cancel = {};
};

struct submission_log_line {
  std::string pod = {};
  std::string container = {};
  std::string text = {};  // without its end
};

// What the containers of a submission print, line by line: see submission::logs(). Not thread safe,
// but for close(); move only.
class submission_logs {
 public:
  submission_logs(submission_logs&&) noexcept;
  submission_logs& operator=(submission_logs&&) noexcept;
  ~submission_logs();

  // The next line, nothing at the end. Throws, after the lines that came before, what reading or
  // watching failed with; error(cancelled) after close().
  boost::asio::awaitable<std::optional<submission_log_line>> read_line();

  void close() noexcept;

 private:
  friend class submission;
  struct impl;
  explicit submission_logs(std::shared_ptr<impl> made) noexcept;
  std::shared_ptr<impl> impl_;
};

// The handle on a Job or Pod that was submitted. Cheap to copy; as thread safe as the client. It
// speaks of one object, known by its uid: one that was deleted and made anew is not it.
class submission {
 public:
  const std::string& kind() const noexcept;  // "Job" or "Pod"
  const std::string& namespace_() const noexcept;
  const std::string& name() const noexcept;
  const std::string& uid() const noexcept;
  const client& k8s() const noexcept;
  // Whether this call of submit() made it; false: it was there, or is on record, already.
  bool created() const noexcept;

  // Waits until it has ended, by a watch that heals itself, and records that in the journal. Ends
  // early only by cancellation. A failed Job is an outcome, not an exception.
  boost::asio::awaitable<outcome> wait(wait_options options = wait_options()) const;

  boost::asio::awaitable<submission_status> status() const;

  // Deletes it and its pods (or suspends it). Nothing happens if it is gone already.
  boost::asio::awaitable<void> cancel(cancel_options options = cancel_options()) const;

  // Goes on with a suspended Job.
  boost::asio::awaitable<void> resume() const;

  // Why it is pending or failed.
  boost::asio::awaitable<explanation> explain() const;

  // The names of its pods, oldest first.
  boost::asio::awaitable<std::vector<std::string>> pods() const;

  // What its pods print; reading begins now, on the client's executor.
  //
  //   auto logs = job.logs({.follow = true});
  //   while (auto line = co_await logs.read_line()) std::cout << line->pod << ' ' << line->text;
  //
  // Without `follow` what has been printed so far: one pod after the other, oldest first. With it,
  // all that is printed until the submission has ended, by pods (and restarted containers) that
  // start later too: lines of one container in their order, those of different ones as they come.
  // That is one connection for each container that runs; one that prints a lot waits for the
  // reader. An empty options.container means all of spec.containers; tail_lines, since and
  // limit_bytes hold for each log by itself. Not read is what is gone: pods that were deleted,
  // and earlier instances of containers; `previous` is error(invalid_argument).
  submission_logs logs(log_options options = log_options()) const;

 private:
  friend struct submitter;
  struct impl;
  explicit submission(std::shared_ptr<const impl> state) : impl_(std::move(state)) {}
  std::shared_ptr<const impl> impl_;
};

// Creates it, or finds the one that an earlier call created: the name is what makes two submissions
// the same one. An object of that name and another spec is error(already_exists), as is one that
// was not submitted. Free functions, so that the client knows of no kinds; found by their argument:
//
//   auto train = co_await submit(k8s, job{"train"}.image(img).command({"./train"}).gpus(2));
//   auto end = co_await train.wait();
//   if (!end.succeeded()) std::cerr << to_string(co_await train.explain());
//
// The object is checked first, as by build(). Where the connection breaks while it is created, what
// became of it is found out; other errors as of client.
boost::asio::awaitable<submission> submit(client k8s, batch_v1::job object,
                                          submit_options options = submit_options());
boost::asio::awaitable<submission> submit(client k8s, core_v1::pod object,
                                          submit_options options = submit_options());

inline boost::asio::awaitable<submission> submit(client k8s, const job& builder,
                                                 submit_options options = submit_options()) {
  return submit(std::move(k8s), builder.build(), std::move(options));
}
inline boost::asio::awaitable<submission> submit(client k8s, const pod& builder,
                                                 submit_options options = submit_options()) {
  return submit(std::move(k8s), builder.build(), std::move(options));
}

// Handles on everything in the journal that has not finished: what a submitter does first when it
// is started again. One that was only intended and never created is left out; submitting it creates
// it.
boost::asio::awaitable<std::vector<submission>> resume_submissions(client k8s,
                                                                   kubernetes::journal from);

// Runs a CronJob now: a Job from its template, "<name>-<10 hexadecimal digits of key>".
boost::asio::awaitable<submission> trigger(client k8s, std::string cron_job, std::string namespace_,
                                           submit_options options);

// What submit() puts on its objects: who they are, and the hash of what was asked for.
inline constexpr std::string_view submission_annotation = "mizzen.dev/submission";
inline constexpr std::string_view spec_hash_annotation = "mizzen.dev/spec-hash";
// On a Job that waits for its record: it is suspended because of that, not by its user.
inline constexpr std::string_view held_annotation = "mizzen.dev/held";

}  // namespace mizzen::kubernetes
