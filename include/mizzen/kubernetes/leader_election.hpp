// One of several candidates leads, decided by a Lease object.
#pragma once

#include <mizzen/core/log.hpp>
#include <mizzen/kubernetes/detail/halting.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <string>

namespace mizzen::kubernetes {

class client;

struct leader_election_options {
  // The Lease, made if it is not there.
  std::string namespace_ = {};
  std::string name = {};
  // Who this candidate is; must differ between candidates. Empty: host name and a random part.
  std::string identity = {};

  // Others take over when they have seen no renewal for lease_duration. The leader gives up when it
  // could not renew for renew_deadline (measured from before the last request that was a success),
  // and tries each retry_period. Must be lease_duration > renew_deadline > 1.2 * retry_period.
  std::chrono::milliseconds lease_duration{15'000};
  std::chrono::milliseconds renew_deadline{10'000};
  std::chrono::milliseconds retry_period{2'000};

  // Gives the lease up when resign() is called, so that another need not wait for it to run out.
  bool release = true;

  // Told who leads, each time that this changes, on the client's executor.
  std::function<void(const std::string& identity)> on_new_leader = {};
  // Told of failures that are retried. Must not throw.
  std::function<void(const std::exception_ptr&)> on_error = {};
  logger log = {};
};

// A candidate.
//
//   leader_election election{k8s, {.namespace_ = "default", .name = "my-controller"}};
//   co_await election.acquire();
//   co_await (work() || election.lost());        // Asio's awaitable operators
//   co_await election.resign();
//
// Safe against skewed clocks: times in the Lease are never compared with this machine's clock, only
// how long it has not changed is measured, on the steady clock. As with every lease, an old leader
// that is frozen (SIGSTOP, a suspended machine) beyond lease_duration goes on for a moment when it
// wakes up: is_leader() looks at the clock at each call, so ask it before what must not be done
// twice. Source: client-go's leaderelection; coordination.k8s.io/v1.
//
// Thread safe. Destroying it stops renewing without giving the lease up.
class leader_election {
 public:
  // Throws error(invalid_argument) for durations that do not fit each other, or missing names.
  leader_election(const client& k8s, leader_election_options options);
  leader_election(leader_election&&) noexcept;
  leader_election& operator=(leader_election&&) noexcept;
  ~leader_election();

  // Waits until this candidate leads; from then on the lease is renewed in the background, until
  // resign() or loss. May be called again after a loss. Throws error(cancelled) when cancelled.
  boost::asio::awaitable<void> acquire();

  // Returns when it leads no more: at once if it does not lead.
  boost::asio::awaitable<void> lost();

  // True if it leads, and the lease has not run out meanwhile.
  bool is_leader() const noexcept;

  // Who was seen to lead last; empty if unknown.
  std::string leader() const;

  const std::string& identity() const noexcept;

  // Stops renewing, and gives the lease up (leader_election_options::release); lost() returns. A
  // failure to give it up goes to on_error: the lease runs out by itself then.
  boost::asio::awaitable<void> resign();

 private:
  struct impl;
  detail::halting<impl> impl_;
};

}  // namespace mizzen::kubernetes
