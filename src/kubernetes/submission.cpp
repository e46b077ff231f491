#include "kubernetes/outcome.hpp"
#include "kubernetes/watch_until.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/submission.hpp>
#include <mizzen/kubernetes/validate.hpp>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

namespace mizzen::kubernetes {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct submission::impl {
  client k8s;
  std::string kind;
  std::string namespace_;
  std::string name;
  std::string id;
  std::string uid;
  bool created = false;
  std::optional<kubernetes::journal> journal = {};
  std::optional<outcome> known = {};  // from the journal

  std::string label() const { return kind + ' ' + namespace_ + '/' + name; }
};

namespace {

constexpr int create_attempts = 5;
constexpr auto first_pause = 500ms;

template <class K>
struct found_or_made {
  K object;
  bool created = false;
};

error taken(const std::string& label, std::string_view why) {
  return error(errc::already_exists, label,
               std::string(why) + ": choose another name or key, or end that one first");
}

// Throws unless the object is what was submitted under this hash.
void check_same(const meta_v1::object_meta& there, const std::string& label,
                const std::string& hash) {
  const auto annotation = there.annotations.find(spec_hash_annotation);
  if (annotation == there.annotations.end()) {
    throw taken(label, "exists, and was not made by a submission");
  }
  if (annotation->second != hash) throw taken(label, "exists with another spec");
}

// Creates the object, or finds the one of its name. A connection that breaks leaves open whether
// the object was made; the name being fixed, another try tells.
template <class K>
asio::awaitable<found_or_made<K>> create_or_find(api<K> objects, K object, cancellation cancel) {
  auto pause = first_pause;
  for (int attempt = 1;; ++attempt, pause *= 2) {
    bool exists = false;
    try {
      write_options options;
      options.cancel = cancel;
      found_or_made<K> result;
      result.object = co_await objects.create(object, options);
      result.created = true;
      co_return result;
    } catch (const status_error& e) {
      if (!is_already_exists(e)) throw;
      exists = true;
    } catch (const error& e) {
      if (e.code() != errc::unavailable || attempt == create_attempts) throw;
    }
    if (exists) {
      get_options options;
      options.cancel = cancel;
      std::optional<K> there = co_await objects.find(object.metadata.name, options);
      if (there) {
        found_or_made<K> result;
        result.object = std::move(*there);
        co_return result;
      }
      if (attempt == create_attempts) {
        throw error(errc::aborted, object.metadata.name,
                    "it is made and deleted all the time by others");
      }
    }
    asio::steady_timer timer(objects.k8s().executor(), pause);
    co_await timer.async_wait(asio::use_awaitable);
    cancel.check(object.metadata.name);
  }
}

// Lets a held object run. One that was deleted, or is another by now, is left to wait() to tell.
template <class K>
asio::awaitable<void> let_go(api<K> objects, K object, cancellation cancel) {
  patch_options options;
  options.cancel = cancel;
  kubernetes::patch change = detail::release(object);
  try {
    co_await objects.patch(object.metadata.name, std::move(change), options);
  } catch (const status_error& e) {
    if (!is_not_found(e) && !is_conflict(e)) throw;
  }
}

constexpr bool refused_for_good(int http_status) {
  return http_status >= 400 && http_status < 500 && http_status != 401 && http_status != 429;
}

}  // namespace

// Makes handles: the one friend of submission.
struct submitter {
  static submission handle(submission::impl state) {
    return submission(std::make_shared<const submission::impl>(std::move(state)));
  }

  template <class K>
  static submission::impl state_of(const client& k8s, const K& object) {
    const auto& kind = resource_of<K>().kind;
    submission::impl state{k8s, kind, object.metadata.namespace_, object.metadata.name, {}, {}};
    state.id = detail::submission_id(kind, state.namespace_, state.name);
    return state;
  }

  template <class K>
  static asio::awaitable<submission> submit(client k8s, K object, submit_options options) {
    auto& metadata = object.metadata;
    if (metadata.namespace_.empty()) metadata.namespace_ = k8s.default_namespace();
    if (!options.key.empty()) metadata.name = detail::keyed_name(metadata.name, options.key);
    if (metadata.name.empty()) {
      throw error(errc::invalid_argument, "metadata.name",
                  "a submission is known by its name: give it one");
    }
    validate(object);
    submission::impl state = state_of(k8s, object);
    const std::string hash = detail::spec_hash(object);
    metadata.annotations.insert_or_assign(submission_annotation, state.id);
    metadata.annotations.insert_or_assign(spec_hash_annotation, hash);
    api<K> objects(k8s, metadata.namespace_);
    get_options reading;
    reading.cancel = options.cancel;

    submission_record record;
    if (options.journal) {
      state.journal = options.journal;
      record.id = state.id;
      record.kind = state.kind;
      record.namespace_ = state.namespace_;
      record.name = state.name;
      record.spec_hash = hash;
      submission_record known = options.journal->intend(record);
      if (known.spec_hash != hash) {
        // What was intended and never came to be does not bind.
        const bool open = known.phase == submission_phase::intended;
        std::optional<K> there;
        if (open) there = co_await objects.find(state.name, reading);
        if (!open || there) throw taken(state.label(), "was submitted before, with another spec");
        options.journal->forget(state.id);
        known = options.journal->intend(record);
      }
      if (known.phase == submission_phase::finished) {
        state.uid = known.uid;
        state.known = outcome_from_json(known.outcome);
        co_return handle(std::move(state));
      }
      if (known.phase == submission_phase::accepted) {
        co_return co_await resume(std::move(state), std::move(known), objects, options.cancel);
      }
      detail::hold(object);
    }

    std::optional<found_or_made<K>> made;
    try {
      made.emplace(co_await create_or_find(objects, object, options.cancel));
    } catch (const status_error& e) {
      if (options.journal && refused_for_good(e.http_status())) options.journal->forget(state.id);
      throw;
    }
    if (!made->created) {
      check_same(made->object.metadata, state.label(), hash);
      if (made->object.metadata.deletion_timestamp) {
        throw error(errc::aborted, state.label(),
                    "an earlier one is being deleted: try again later");
      }
    }
    state.created = made->created;
    state.uid = made->object.metadata.uid;
    if (options.journal) {
      options.journal->intend(record);  // another submitter may have given up on it meanwhile
      options.journal->accept(state.id, state.uid);
      if (detail::is_held(made->object.metadata)) {
        co_await let_go(objects, std::move(made->object), options.cancel);
      }
    }
    co_return handle(std::move(state));
  }

  // A handle on what is on record, let go if its submitter died before it could do that.
  template <class K>
  static asio::awaitable<submission> resume(submission::impl state, submission_record known,
                                            api<K> objects, cancellation cancel) {
    state.uid = known.uid;
    get_options reading;
    reading.cancel = cancel;
    std::optional<K> there = co_await objects.find(state.name, reading);
    if (there && there->metadata.uid == state.uid && detail::is_held(there->metadata)) {
      co_await let_go(objects, std::move(*there), cancel);
    }
    co_return handle(std::move(state));
  }

  // The same for a record that a restarted submitter finds.
  template <class K>
  static asio::awaitable<std::optional<submission>> resume_record(client k8s, journal from,
                                                                  submission_record record) {
    submission::impl state{k8s, record.kind, record.namespace_, record.name, record.id, {}};
    state.journal = from;
    api<K> objects(k8s, record.namespace_);
    std::optional<submission> result;
    if (record.phase == submission_phase::intended) {
      std::optional<K> there = co_await objects.find(record.name);
      const bool ours = there && there->metadata.annotations.contains(spec_hash_annotation) &&
                        there->metadata.annotations.at(spec_hash_annotation) == record.spec_hash;
      if (!ours) co_return result;
      from.accept(record.id, there->metadata.uid);
      record.uid = there->metadata.uid;
    }
    const cancellation never;
    result.emplace(co_await resume(std::move(state), std::move(record), objects, never));
    co_return result;
  }

  template <class K>
  static asio::awaitable<std::optional<K>> find(std::shared_ptr<const submission::impl> self) {
    api<K> objects(self->k8s, self->namespace_);
    std::optional<K> there = co_await objects.find(self->name);
    if (there && there->metadata.uid != self->uid) there.reset();
    co_return there;
  }

  template <class K>
  static asio::awaitable<submission_status> status(std::shared_ptr<const submission::impl> self) {
    std::optional<K> there = co_await find<K>(std::move(self));
    submission_status result;
    if (there) result = detail::status_of(*there);
    co_return result;
  }

  static asio::awaitable<std::vector<core_v1::pod>> pods_of(
      std::shared_ptr<const submission::impl> self) {
    api<core_v1::pod> pods(self->k8s, self->namespace_);
    list_options which;
    if (self->kind == "Job") {
      which.label_selector = "batch.kubernetes.io/controller-uid=" + self->uid;
    } else {
      which.field_selector = "metadata.name=" + self->name;
    }
    kubernetes::list<core_v1::pod> found = co_await pods.list_all(which);
    std::erase_if(found.items, [&](const auto& pod) {
      return self->kind == "Pod" && pod.metadata.uid != self->uid;
    });
    std::sort(found.items.begin(), found.items.end(), [](const auto& a, const auto& b) {
      return std::tie(a.metadata.creation_timestamp, a.metadata.name) <
             std::tie(b.metadata.creation_timestamp, b.metadata.name);
    });
    co_return std::move(found.items);
  }

  template <class K>
  static asio::awaitable<outcome> wait(std::shared_ptr<const submission::impl> self,
                                       wait_options options) {
    if (self->known) co_return *self->known;
    std::optional<outcome> end;
    while (!end) {
      detail::watch_target target{self->namespace_, self->name, self->label()};
      std::function<bool(const K*)> look = [&end, &self, &options](const K* object) {
        if (object == nullptr || object->metadata.uid != self->uid) {
          end = detail::lost(self->kind, self->name);
          return true;
        }
        const submission_status now = detail::status_of(*object);
        if (options.on_change) options.on_change(now);
        end = now.ended;
        return end.has_value();
      };
      co_await detail::watch_until<K>(self->k8s, std::move(target), std::move(look),
                                      options.cancel);
      // A list may be served from a cache that is behind; what is read by name is not.
      if (end->state == outcome_state::lost && co_await find<K>(self)) end.reset();
    }
    if (end->state == outcome_state::lost && self->journal) {
      // Another process that waits for the same one may have seen more.
      const std::optional<submission_record> record = self->journal->find(self->id);
      if (record && record->phase == submission_phase::finished) {
        co_return outcome_from_json(record->outcome);
      }
    }
    if (end->state != outcome_state::lost) {
      end->exits = detail::exits_of(co_await pods_of(self));
    }
    if (self->journal) {
      kubernetes::journal log = *self->journal;
      log.finish(self->id, to_json_value(*end));
    }
    co_return std::move(*end);
  }

  template <class K>
  static asio::awaitable<void> remove(std::shared_ptr<const submission::impl> self,
                                      cancellation cancel) {
    api<K> objects(self->k8s, self->namespace_);
    remove_options options;
    options.propagate = propagation::background;
    options.uid = self->uid;
    options.cancel = cancel;
    try {
      co_await objects.remove(self->name, options);
    } catch (const status_error& e) {
      if (!is_not_found(e) && !is_conflict(e)) throw;  // gone, or another one by now
    }
  }

  static asio::awaitable<void> set_suspended(std::shared_ptr<const submission::impl> self,
                                             bool suspended, cancellation cancel) {
    if (self->kind != "Job") {
      throw error(errc::failed_precondition, self->label(), "only Jobs can be suspended");
    }
    api<batch_v1::job> jobs(self->k8s, self->namespace_);
    patch_options options;
    options.cancel = cancel;
    json change = {{"metadata", {{"uid", self->uid}}}, {"spec", {{"suspend", suspended}}}};
    co_await jobs.patch(self->name, kubernetes::patch::merge(std::move(change)), options);
  }

  static asio::awaitable<std::vector<std::string>> pod_names(
      std::shared_ptr<const submission::impl> self) {
    std::vector<std::string> names;
    const std::vector<core_v1::pod> pods = co_await pods_of(std::move(self));
    for (const auto& pod : pods) names.push_back(pod.metadata.name);
    co_return names;
  }
};

const std::string& submission::kind() const noexcept { return impl_->kind; }
const std::string& submission::namespace_() const noexcept { return impl_->namespace_; }
const std::string& submission::name() const noexcept { return impl_->name; }
const std::string& submission::uid() const noexcept { return impl_->uid; }
const client& submission::k8s() const noexcept { return impl_->k8s; }
bool submission::created() const noexcept { return impl_->created; }

asio::awaitable<outcome> submission::wait(wait_options options) const {
  if (impl_->kind == "Job") return submitter::wait<batch_v1::job>(impl_, std::move(options));
  return submitter::wait<core_v1::pod>(impl_, std::move(options));
}

asio::awaitable<submission_status> submission::status() const {
  if (impl_->kind == "Job") return submitter::status<batch_v1::job>(impl_);
  return submitter::status<core_v1::pod>(impl_);
}

asio::awaitable<void> submission::cancel(cancel_options options) const {
  if (options.suspend) return submitter::set_suspended(impl_, true, options.cancel);
  if (impl_->kind == "Job") return submitter::remove<batch_v1::job>(impl_, options.cancel);
  return submitter::remove<core_v1::pod>(impl_, options.cancel);
}

asio::awaitable<void> submission::resume() const {
  return submitter::set_suspended(impl_, false, cancellation{});
}

asio::awaitable<explanation> submission::explain() const {
  explain_target target;
  target.kind = impl_->kind;
  target.name = impl_->name;
  target.namespace_ = impl_->namespace_;
  return kubernetes::explain(impl_->k8s, std::move(target));
}

asio::awaitable<std::vector<std::string>> submission::pods() const {
  return submitter::pod_names(impl_);
}

asio::awaitable<submission> submit(client k8s, batch_v1::job object, submit_options options) {
  return submitter::submit(std::move(k8s), std::move(object), std::move(options));
}

asio::awaitable<submission> submit(client k8s, core_v1::pod object, submit_options options) {
  return submitter::submit(std::move(k8s), std::move(object), std::move(options));
}

asio::awaitable<std::vector<submission>> resume_submissions(client k8s, kubernetes::journal from) {
  std::vector<submission> found;
  const std::vector<submission_record> pending = from.pending();
  for (const auto& record : pending) {
    std::optional<submission> one;
    if (record.kind == "Job") {
      one = co_await submitter::resume_record<batch_v1::job>(k8s, from, record);
    } else if (record.kind == "Pod") {
      one = co_await submitter::resume_record<core_v1::pod>(k8s, from, record);
    }
    if (one) found.push_back(std::move(*one));
  }
  co_return found;
}

asio::awaitable<submission> trigger(client k8s, std::string cron_job, std::string namespace_,
                                    submit_options options) {
  if (options.key.empty()) {
    throw error(errc::invalid_argument, "submit_options.key",
                "tells one run of a CronJob from another: give it one");
  }
  if (namespace_.empty()) namespace_ = k8s.default_namespace();
  api<batch_v1::cron_job> cron_jobs(k8s, namespace_);
  get_options reading;
  reading.cancel = options.cancel;
  const batch_v1::cron_job of = co_await cron_jobs.get(std::move(cron_job), reading);
  batch_v1::job run;
  run.metadata.name = of.metadata.name;
  run.metadata.namespace_ = namespace_;
  run.metadata.labels = of.spec.job_template.metadata.labels;
  run.metadata.annotations = of.spec.job_template.metadata.annotations;
  run.metadata.annotations.insert_or_assign("cronjob.kubernetes.io/instantiate", "manual");
  auto& owner = run.metadata.owner_references.emplace_back();
  owner.api_version = "batch/v1";
  owner.kind = "CronJob";
  owner.name = of.metadata.name;
  owner.uid = of.metadata.uid;
  owner.controller = true;
  run.spec = of.spec.job_template.spec;
  co_return co_await submit(std::move(k8s), std::move(run), std::move(options));
}

}  // namespace mizzen::kubernetes
