#include "kubernetes/election_machine.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/detail/wake.hpp>
#include <mizzen/kubernetes/leader_election.hpp>
#include <mizzen/kubernetes/types/coordination_v1.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <random>
#include <stop_token>
#include <unistd.h>
#include <utility>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
using namespace detail;
using clock = std::chrono::steady_clock;
using lease_api = api<coordination_v1::lease>;

void check(const leader_election_options& options) {
  const auto fail = [](std::string_view field, std::string_view why) {
    throw error(errc::invalid_argument, field, why);
  };
  if (options.namespace_.empty()) fail("leader_election_options.namespace_", "is missing");
  if (options.name.empty()) fail("leader_election_options.name", "is missing");
  if (options.retry_period.count() <= 0) {
    fail("leader_election_options.retry_period", "must be more than zero");
  }
  if (options.renew_deadline * 10 <= options.retry_period * 12) {
    fail("leader_election_options.renew_deadline", "must be more than 1.2 times retry_period");
  }
  if (options.lease_duration <= options.renew_deadline) {
    fail("leader_election_options.lease_duration", "must be longer than renew_deadline");
  }
  if (options.lease_duration < std::chrono::seconds(1)) {
    fail("leader_election_options.lease_duration",
         "must be at least a second: a Lease counts in seconds");
  }
}

std::string own_identity() {
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return std::string(host) + "_" + random_uuid();
}

lease_record record_of(const coordination_v1::lease& lease) {
  lease_record record;
  record.holder = lease.spec.holder_identity.value_or("");
  if (lease.spec.lease_duration_seconds) {
    record.duration = std::chrono::seconds(*lease.spec.lease_duration_seconds);
  }
  if (lease.spec.acquire_time) record.acquired = lease.spec.acquire_time->at;
  if (lease.spec.renew_time) record.renewed = lease.spec.renew_time->at;
  record.transitions = lease.spec.lease_transitions.value_or(0);
  record.resource_version = lease.metadata.resource_version;
  return record;
}

// The record into a Lease, of which everything else stays as it was read.
void write(const lease_record& record, coordination_v1::lease& lease) {
  lease.spec.holder_identity = record.holder;
  if (record.duration) {
    lease.spec.lease_duration_seconds = static_cast<std::int32_t>(record.duration->count());
  }
  if (record.acquired) lease.spec.acquire_time = micro_time{*record.acquired};
  if (record.renewed) lease.spec.renew_time = micro_time{*record.renewed};
  lease.spec.lease_transitions = record.transitions;
  lease.metadata.resource_version = record.resource_version;
}

election_machine::wall_time wall_now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

}  // namespace

struct leader_election::impl : std::enable_shared_from_this<leader_election::impl> {
  impl(const client& k8s, leader_election_options with)
      : options(std::move(with)),
        leases(k8s, options.namespace_),
        on_strand(asio::make_strand(k8s.executor())),
        timer(on_strand),
        changed(k8s.executor()),
        machine(options.identity, options.lease_duration, options.renew_deadline) {}

  // What is done to the machine, under its lock.
  template <class F>
  auto with(F&& what) {
    const std::lock_guard lock(mutex);
    return what(machine);
  }

  // One attempt to get or keep the lease, which ends by the deadline. Throws what went wrong.
  static asio::awaitable<void> attempt(std::shared_ptr<impl> self, deadline until) {
    cancellation cancel{self->stop.get_token(), until};
    coordination_v1::lease lease;
    bool exists = true;
    if (self->with([](auto& it) { return it.can_renew_at_once(); })) {
      lease = self->last;
    } else {
      get_options get;
      get.cancel = cancel;
      std::optional<coordination_v1::lease> found =
          co_await self->leases.find(self->options.name, std::move(get));
      exists = found.has_value();
      std::optional<lease_record> record;
      if (exists) {
        lease = std::move(*found);
        record = record_of(lease);
      }
      self->with([&](auto& it) { it.observed(record, clock::now()); });
      self->tell_leader();
      // Lost, and lost() may have said so: only acquire() tries again.
      if (self->renewing && !self->with([](auto& it) { return it.leading(); })) co_return;
    }
    if (!self->with([](auto& it) { return it.may_write(clock::now()); })) co_return;

    const clock::time_point sent = clock::now();
    write(self->with([](auto& it) { return it.claim(wall_now()); }), lease);
    write_options options;
    options.cancel = cancel;
    // Until the answer says otherwise, what was seen is out of date.
    self->with([](auto& it) { it.outdated(); });
    if (exists) {
      self->last = co_await self->leases.replace(lease, std::move(options));
    } else {
      lease.metadata.name = self->options.name;
      lease.metadata.namespace_ = self->options.namespace_;
      self->last = co_await self->leases.create(lease, std::move(options));
    }
    self->with([&](auto& it) {
      it.written(record_of(self->last), sent, clock::now());
      it.up_to_date();
    });
    self->tell_leader();
  }

  // The same, with failures reported instead. Lost races are no failures.
  static asio::awaitable<void> try_once(std::shared_ptr<impl> self, deadline until) {
    std::exception_ptr failure;
    try {
      co_await attempt(self, until);
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) self->report(failure);
  }

  void report(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const error& e) {
      if (e.code() == errc::cancelled || is_conflict(e) || is_already_exists(e)) return;
    } catch (...) {
      // Something else: told as it is.
    }
    options.log.log(
        log_level::warning, "kubernetes", "leader election",
        {{"lease", options.namespace_ + "/" + options.name}, {"error", describe(failure)}});
    if (options.on_error) options.on_error(failure);
  }

  void tell_leader() {
    std::string now = with([](auto& it) { return it.leader(); });
    if (now == told) return;
    told = now;
    options.log.log(log_level::info, "kubernetes", "leader", {{"identity", now}});
    if (options.on_new_leader) options.on_new_leader(now);
  }

  // Between one and 1.2 periods.
  std::chrono::milliseconds pause() {
    std::uniform_real_distribution<double> factor(1.0, 1.2);
    return std::chrono::milliseconds(static_cast<std::int64_t>(
        static_cast<double>(options.retry_period.count()) * factor(random)));
  }

  static asio::awaitable<void> sleep(std::shared_ptr<impl> self, clock::time_point until) {
    if (self->stop.stop_requested()) co_return;
    self->timer.expires_at(until);
    boost::system::error_code ignored;
    co_await self->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }

  // On the strand.
  static asio::awaitable<void> acquire_loop(std::shared_ptr<impl> self) {
    const asio::cancellation_state cancelled = co_await asio::this_coro::cancellation_state;
    co_await asio::this_coro::throw_if_cancelled(false);
    if (self->renewing) co_return;
    self->stop = {};
    for (;;) {
      const auto gone = [&] {
        return cancelled.cancelled() != asio::cancellation_type::none ||
               self->stop.stop_requested();
      };
      if (gone()) throw error(errc::cancelled, "leader_election.acquire", "cancelled");
      co_await try_once(self, deadline::after(self->options.renew_deadline));
      if (self->with([](auto& it) { return it.leads(clock::now()); })) break;
      if (gone()) continue;
      co_await sleep(self, clock::now() + self->pause());
    }
    self->renewing = true;
    asio::co_spawn(self->on_strand, renew_loop(self), asio::detached);
  }

  // On the strand, alone until it is lost.
  static asio::awaitable<void> renew_loop(std::shared_ptr<impl> self) {
    while (!self->stop.stop_requested()) {
      const clock::time_point until = self->with([](auto& it) { return it.renew_until(); });
      co_await sleep(self, std::min(clock::now() + self->pause(), until));
      if (self->stop.stop_requested()) break;
      if (clock::now() >= until) {
        self->with([](auto& it) { it.step_down(); });
        break;
      }
      co_await try_once(self, deadline(until));
      if (!self->with([](auto& it) { return it.leading(); })) break;
    }
    self->renewing = false;
    self->changed.notify();
  }

  // On the strand.
  static asio::awaitable<void> resign(std::shared_ptr<impl> self) {
    co_await asio::this_coro::throw_if_cancelled(false);
    self->stop.request_stop();
    self->timer.cancel();
    std::function<bool()> rests = [raw = self.get()] { return !raw->renewing; };
    co_await self->changed.until(std::move(rests), "leader_election.resign");
    const std::optional<lease_record> record =
        self->with([](auto& it) { return it.release(wall_now()); });
    self->with([](auto& it) { it.step_down(); });
    self->changed.notify();
    if (!record || !self->options.release) co_return;
    std::exception_ptr failure;
    try {
      coordination_v1::lease lease = self->last;
      write(*record, lease);
      write_options options;
      options.cancel.deadline = deadline::after(self->options.renew_deadline);
      co_await self->leases.replace(lease, std::move(options));
    } catch (...) {
      failure = std::current_exception();
    }
    self->with([](auto& it) { it.outdated(); });
    if (failure) self->report(failure);
  }

  void halt() {
    asio::post(on_strand, [self = shared_from_this()] {
      self->stop.request_stop();
      self->timer.cancel();
    });
  }

  const leader_election_options options;
  const lease_api leases;
  const asio::strand<asio::any_io_executor> on_strand;
  asio::steady_timer timer;  // on the strand
  const wake changed;
  mutable std::mutex mutex;
  election_machine machine;
  std::atomic<bool> renewing = false;  // the loop that keeps the lease runs
  // On the strand.
  std::stop_source stop;
  coordination_v1::lease last;  // as it was written last
  std::string told;
  std::minstd_rand random{std::random_device{}()};
};

leader_election::leader_election(const client& k8s, leader_election_options options) {
  check(options);
  if (options.identity.empty()) options.identity = own_identity();
  impl_ = detail::halting(std::make_shared<impl>(k8s, std::move(options)));
}

leader_election::leader_election(leader_election&&) noexcept = default;
leader_election& leader_election::operator=(leader_election&&) noexcept = default;
leader_election::~leader_election() = default;

asio::awaitable<void> leader_election::acquire() {
  const std::shared_ptr<impl> self = impl_.share();
  co_await asio::co_spawn(self->on_strand, impl::acquire_loop(self), asio::use_awaitable);
}

asio::awaitable<void> leader_election::lost() {
  const std::shared_ptr<impl> self = impl_.share();
  std::function<bool()> ready = [raw = self.get()] {
    return !raw->with([](auto& it) { return it.leading(); });
  };
  co_await self->changed.until(std::move(ready), "leader_election.lost");
}

bool leader_election::is_leader() const noexcept {
  return impl_->with([](auto& it) { return it.leads(clock::now()); });
}

std::string leader_election::leader() const {
  return impl_->with([](auto& it) { return it.leader(); });
}

const std::string& leader_election::identity() const noexcept { return impl_->options.identity; }

asio::awaitable<void> leader_election::resign() {
  const std::shared_ptr<impl> self = impl_.share();
  co_await asio::co_spawn(self->on_strand, impl::resign(self), asio::use_awaitable);
}

}  // namespace mizzen::kubernetes
