// session.run_async(): a run of the session's own threads, and an asyncio future that waits for it.
#include "bindings.hpp"

#include <mizzen/inference/session.hpp>

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mizzen::python {
namespace {

using inference::session;
using inference::tensor_map;

// Whether this thread is a session's and at its handler: it cannot wait for itself to end.
thread_local bool at_handler = false;

// Python objects that a run holds. Touched with the GIL only.
struct objects {
  py::object self;  // the session must outlive its run
  py::object loop, future;
  std::vector<py::array> memory;  // of the inputs
};

// Runs under way. No thread may ask for the GIL of an interpreter that ends.
class run_count {
 public:
  void begin() {
    const std::lock_guard lock(mutex_);
    ++runs_;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    --runs_;
    changed_.notify_all();
  }
  void wait_for_none() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return runs_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t runs_ = 0;
};
run_count under_way;

void drop(objects* held) {
  const py::gil_scoped_acquire gil;
  delete held;
  under_way.end();
}

py::object exception_of(const std::exception_ptr& failed) {
  const py::cpp_function rethrow([failed] { std::rethrow_exception(failed); });
  try {
    rethrow();
  } catch (py::error_already_set& e) {
    return e.value();
  }
  return py::none();
}

py::dict arrays_of(tensor_map outputs) {
  py::dict arrays;
  for (auto& [name, value] : outputs) {
    arrays[py::str(name)] = to_array(std::move(value), "outputs['" + name + "']");
  }
  return arrays;
}

// On the thread that ran: tells the loop.
void settle(objects& held, const std::exception_ptr& failed, tensor_map outputs) {
  const py::gil_scoped_acquire gil;
  struct mark {
    mark() { at_handler = true; }
    ~mark() { at_handler = false; }
  };
  const mark here;  // outlives the objects below
  held.memory.clear();
  bool good = !failed;
  py::object value;
  try {
    value = good ? py::object(arrays_of(std::move(outputs))) : exception_of(failed);
  } catch (...) {
    good = false;
    value = exception_of(std::current_exception());
  }
  const py::object self = std::move(held.self);
  const py::object future = std::move(held.future);
  const py::object loop = std::move(held.loop);
  const py::cpp_function tell([future, good](const py::object& outcome) {
    if (!future.attr("done")().cast<bool>()) {
      future.attr(good ? "set_result" : "set_exception")(outcome);
    }
  });
  try {
    loop.attr("call_soon_threadsafe")(tell, value);
  } catch (const py::error_already_set&) {  // the loop is closed: nobody waits any more
  }
}

}  // namespace

void session_deleter::operator()(inference::session* s) const noexcept {
  if (at_handler) return std::thread([s] { delete s; }).detach();
  // Its runs may need the GIL to end.
  const py::gil_scoped_release release;
  delete s;
}

void wait_for_runs_at_exit() {
  py::module_::import("atexit").attr("register")(py::cpp_function([] {
    const py::gil_scoped_release release;
    under_way.wait_for_none();
  }));
}

py::object run_async(const py::object& self, const py::dict& inputs) {
  const auto& s = self.cast<const session&>();
  std::unique_ptr<objects, void (*)(objects*)> held(new objects, &drop);
  under_way.begin();
  held->self = self;
  held->loop = py::module_::import("asyncio").attr("get_running_loop")();
  held->future = held->loop.attr("create_future")();
  tensor_map given;
  for (const auto& [key, value] : inputs) {
    const auto name = key.cast<std::string>();
    auto expected = inference::element_type::float32;
    for (const auto& info : s.inputs()) {
      if (info.name == name) expected = info.type;
    }
    input_tensor made = to_tensor(value, expected, "inputs['" + name + "']");
    held->memory.push_back(std::move(made.memory));
    given.emplace(name, std::move(made.value));
  }
  const std::stop_source stop;
  const py::cpp_function on_done([stop](const py::object& done) {
    if (done.attr("cancelled")().cast<bool>()) std::stop_source(stop).request_stop();
  });
  py::object future = held->future;
  future.attr("add_done_callback")(on_done);
  inference::run_options options;
  options.cancel.token = stop.get_token();
  auto handler = [held = std::move(held)](const std::exception_ptr& failed, tensor_map outputs) {
    settle(*held, failed, std::move(outputs));
  };
  {
    const py::gil_scoped_release release;
    s.run_async(std::move(given), std::move(handler), std::move(options));
  }
  return future;
}

}  // namespace mizzen::python
