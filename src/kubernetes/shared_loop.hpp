// An event loop that lives as long as anything that refers to it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>

#include <atomic>
#include <memory>
#include <utility>

namespace mizzen::kubernetes::detail {

// Its executors share it. What waits in it when its owner end()s it is dropped at once, and so is
// what is given to it later: nothing in it could keep it alive for ever.
class shared_loop : public boost::asio::io_context {
 public:
  template <class Inner>
  class executor;

  shared_loop() : boost::asio::io_context(1) {}

  static auto executor_of(std::shared_ptr<shared_loop> loop);

  void end() noexcept {
    ended_ = true;
    shutdown();
  }

 private:
  std::atomic<bool> ended_ = false;
};

// An executor of the loop, with a share in it; every property is Inner's.
template <class Inner>
class shared_loop::executor {
 public:
  executor(std::shared_ptr<shared_loop> of, Inner inner) noexcept
      : loop_(std::move(of)), inner_(std::move(inner)) {}

  template <class Property>
    requires boost::asio::can_query<const Inner&, Property>::value
  decltype(auto) query(const Property& property) const
      noexcept(boost::asio::is_nothrow_query<const Inner&, Property>::value) {
    return boost::asio::query(inner_, property);
  }

  template <class Property>
    requires boost::asio::can_require<const Inner&, Property>::value
  auto require(const Property& property) const {
    return with(boost::asio::require(inner_, property));
  }

  template <class Property>
    requires boost::asio::can_prefer<const Inner&, Property>::value
  auto prefer(const Property& property) const {
    return with(boost::asio::prefer(inner_, property));
  }

  template <class Function>
  void execute(Function&& function) const {
    if (!loop_->ended_) inner_.execute(std::forward<Function>(function));
  }

  friend bool operator==(const executor& a, const executor& b) noexcept {
    return a.inner_ == b.inner_;
  }
  friend bool operator!=(const executor& a, const executor& b) noexcept { return !(a == b); }

 private:
  template <class Other>
  executor<Other> with(Other other) const {
    return {loop_, std::move(other)};
  }

  std::shared_ptr<shared_loop> loop_;
  Inner inner_;
};

inline auto shared_loop::executor_of(std::shared_ptr<shared_loop> loop) {
  auto inner = loop->get_executor();
  return executor<decltype(inner)>(std::move(loop), std::move(inner));
}

}  // namespace mizzen::kubernetes::detail
