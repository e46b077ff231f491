// Runs of a model that a coroutine of Boost.Asio waits for. The one header of the module that needs
// Boost (1.81 or later, headers only): include it where that is at hand; <mizzen/inference.hpp>
// leaves it out.
//
//   boost::asio::awaitable<void> classify(const mizzen::inference::session& model, tensor pixels) {
//     mizzen::inference::tensor_map inputs;
//     inputs.emplace("pixels", std::move(pixels));
//     auto outputs = co_await mizzen::inference::async_run(model, std::move(inputs));
//     …
//   }
#pragma once

#include <mizzen/inference/session.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

namespace mizzen::inference {
namespace detail {

// How a run under way is stopped: by the caller's token, or by Asio's slot.
class run_stop {
 public:
  explicit run_stop(const std::stop_token& token) : link_(std::in_place, token, stop{source_}) {}
  run_stop(const run_stop&) = delete;
  run_stop& operator=(const run_stop&) = delete;

  void request() noexcept { source_.request_stop(); }
  std::stop_token token() const noexcept { return source_.get_token(); }

 private:
  struct stop {
    std::stop_source source;
    void operator()() noexcept { source.request_stop(); }
  };
  std::stop_source source_;
  std::optional<std::stop_callback<stop>> link_;
};

}  // namespace detail

// session::run_async() as an asynchronous operation of Boost.Asio, for any completion token of
// signature void(std::exception_ptr, tensor_map). The handler runs on its associated executor,
// which has work until then; its cancellation slot (any type) stops the run as options.cancel
// does, with error(cancelled). What run_async() itself throws goes to the handler as well. The
// session must live until the handler is called.
template <class Token>
auto async_run(const session& on, tensor_map inputs, run_options options, Token&& token) {
  auto initiate = [&on](auto handler, tensor_map given, run_options how) {
    using handler_type = decltype(handler);
    const auto stop = std::make_shared<detail::run_stop>(how.cancel.token);
    auto slot = boost::asio::get_associated_cancellation_slot(handler);
    if (slot.is_connected()) {
      slot.assign([stop](boost::asio::cancellation_type) { stop->request(); });
    }
    how.cancel.token = stop->token();
    // Counts as work, and so keeps its context until the thread of the run has let go of it. (A
    // work guard also has one that does not, and lets go of that last.)
    auto executor = boost::asio::prefer(boost::asio::get_associated_executor(handler),
                                        boost::asio::execution::outstanding_work.tracked);
    // Shared by the run, should it begin, and by what tells that it has not.
    auto resume = std::make_shared<std::optional<handler_type>>(std::move(handler));
    auto finish = [executor = std::move(executor), resume = std::move(resume), stop](
                      std::exception_ptr failed, tensor_map outputs) mutable {
      auto last = [then = std::move(resume), failed = std::move(failed),
                   outputs = std::move(outputs)]() mutable {
        auto connected = boost::asio::get_associated_cancellation_slot(**then);
        if (connected.is_connected()) connected.clear();
        handler_type call = std::move(**then);
        then.reset();
        std::move(call)(std::move(failed), std::move(outputs));
      };
      boost::asio::post(executor, std::move(last));
    };
    try {
      on.run_async(std::move(given), finish, std::move(how));
    } catch (...) {
      finish(std::current_exception(), {});
    }
  };
  return boost::asio::async_initiate<Token, void(std::exception_ptr, tensor_map)>(
      std::move(initiate), token, std::move(inputs), std::move(options));
}

// For co_await: gives the outputs, or throws what the run has thrown.
inline boost::asio::awaitable<tensor_map> async_run(const session& on, tensor_map inputs,
                                                    run_options options = run_options()) {
  return async_run(on, std::move(inputs), std::move(options), boost::asio::use_awaitable);
}

}  // namespace mizzen::inference
