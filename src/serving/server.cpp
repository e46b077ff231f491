#include "serving/metrics.hpp"
#include "serving/repository.hpp"
#include "serving/worker_pool.hpp"

#include <mizzen/core/cpu.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/server.hpp>
#include <mizzen/serving/server.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace mizzen::serving {
namespace {

namespace asio = boost::asio;
using namespace detail;
using clock = std::chrono::steady_clock;

http::response json_response(int status, const json& body) {
  return http::make_response(status, "application/json",
                             body.dump(-1, ' ', false, json::error_handler_t::replace));
}

http::response error_response(int status, std::string_view why) {
  return json_response(status, {{"error", why}});
}

http::response busy(std::string_view why) {
  http::response answer = error_response(503, why);
  answer.headers.add("Retry-After", "1");
  return answer;
}

http::response not_allowed(std::string_view allowed) {
  http::response answer = error_response(405, "use " + std::string(allowed));
  answer.headers.add("Allow", std::string(allowed));
  return answer;
}

// What an exception means to the client; the text of what is not its fault stays here.
http::response failure_response(const error& e) {
  switch (e.code()) {
    case errc::invalid_argument:
    case errc::out_of_range:
      return error_response(400, e.what());
    case errc::not_found:
      return error_response(404, e.what());
    case errc::resource_exhausted:
      return error_response(413, e.what());
    case errc::unimplemented:
      return error_response(501, e.what());
    case errc::deadline_exceeded:
      return error_response(504, e.what());
    case errc::cancelled:
      return error_response(499, "the client has gone away");
    case errc::unavailable:
      return busy(e.what());
    default:
      return error_response(500, "the model failed; the server's log says why");
  }
}

// One inference request: made on the network thread, run on a worker.
struct infer_job {
  http::request request;
  std::shared_ptr<served_model> target;
  std::optional<std::size_t> json_size;
  clock::time_point arrived = clock::now();
  std::stop_source stop;
  deadline until;
  http::response answer;
};

}  // namespace

struct server::impl {
  explicit impl(server_options with) : options(std::move(with)) {
    if (options.workers == 0) options.workers = available_cpus();
  }
  ~impl() { stop(); }

  void start() {
    if (pool) throw error(errc::failed_precondition, "serving::server", "it was started already");
    http::server_options settings;
    settings.host = options.host;
    settings.port = options.port;
    settings.tls = options.tls;
    settings.max_body = options.max_body;
    settings.max_connections = options.max_connections;
    settings.refusal = error_response;
    settings.log = options.log;
    web.emplace(io.get_executor(), std::move(settings),
                [this](http::request what) { return handle(std::move(what)); });
    pool.emplace(options.workers, options.max_queue);
    started_at = clock::now();
    serving = true;
    network = std::thread([this] { run_network(); });
    options.log.log(log_level::info, "serving", "serving", {{"url", web->url()}});
  }

  void run_network() noexcept {
    for (;;) {
      try {
        io.run();
        return;
      } catch (...) {
        options.log.log(log_level::error, "serving", "the network thread caught an exception",
                        {{"reason", describe(std::current_exception())}});
      }
    }
  }

  void stop() noexcept {
    if (!network.joinable()) return;
    serving = false;
    abort_drain();
    stopping = true;
    pool->stop();
    // Its end posts the closing of what is left; the loop ends when nothing is.
    web->stop();
    work.reset();
    network.join();
  }

  // Cuts a running drain() short.
  void abort_drain() noexcept {
    {
      const std::lock_guard lock(drain_mutex);
      drain_aborted = true;
    }
    drain_wake.notify_all();
    web->stop();
  }

  bool drain() {
    // The loop outlives this call, also when stop() comes in between.
    const auto hold = asio::make_work_guard(io);
    std::unique_lock lock(drain_mutex);
    if (!web) return true;
    if (drain_aborted) return in_flight.value() == 0;
    serving = false;
    options.log.log(log_level::info, "serving", "draining", {{"in_flight", in_flight.value()}});
    drain_wake.wait_for(lock, options.drain_delay, [this] { return drain_aborted; });
    lock.unlock();
    auto drained =
        asio::co_spawn(io, web->drain(deadline::after(options.drain_timeout)), asio::use_future);
    const bool all = drained.get();
    lock.lock();
    const bool aborted = drain_aborted;
    lock.unlock();
    options.log.log(log_level::info, "serving", all && !aborted ? "drained" : "drain cut short",
                    {{"in_flight", in_flight.value()}});
    return all && !aborted;
  }

  asio::awaitable<http::response> handle(http::request what) {
    const gauge_hold here(in_flight);
    bool is_infer = false;
    http::response answer;
    try {
      const std::vector<std::string> path = http::path_segments(http::url_path(what.url));
      is_infer =
          path.size() >= 4 && path[0] == "v2" && path[1] == "models" && path.back() == "infer";
      if (!is_infer) answer = describe_self(what, path);
      if (is_infer) answer = co_await infer(std::move(what), path);
    } catch (const error& e) {
      answer = failure_response(e);
    }
    if (!is_infer) other_requests.add();
    co_return answer;
  }

  // Everything but inference.
  http::response describe_self(const http::request& what, const std::vector<std::string>& path) {
    if (what.method != "GET" && what.method != "HEAD") return not_allowed("GET, HEAD");
    const auto is = [&](std::initializer_list<std::string_view> wanted) {
      return std::ranges::equal(path, wanted);
    };
    if (is({"v2"}) || is({"v2", ""})) {
      return json_response(200, {{"name", options.server_name},
                                 {"version", options.server_version},
                                 {"extensions", {"binary_tensor_data"}}});
    }
    if (is({"v2", "health", "live"})) return json_response(200, {{"live", true}});
    if (is({"v2", "health", "ready"})) {
      const bool now = ready();
      return json_response(now ? 200 : 503, {{"ready", now}});
    }
    if (is({"metrics"})) {
      return http::make_response(200, "text/plain; version=0.0.4; charset=utf-8", metrics());
    }
    if (path.size() >= 3 && path[0] == "v2" && path[1] == "models") {
      const model_path at = parse_model_path(path);
      const std::shared_ptr<served_model> found = models.find(at.name, at.version);
      if (at.verb.empty()) {
        return json_response(
            200, v2::to_json(found->name,
                             at.version.empty() ? models.versions(found->name)
                                                : std::vector<std::string>{found->version},
                             found->what->metadata()));
      }
      if (at.verb == "ready") {
        const bool now = serving && found->what->ready();
        return json_response(now ? 200 : 503, {{"name", found->name}, {"ready", now}});
      }
    }
    throw error(errc::not_found, "path", "there is nothing at this path; see GET /v2");
  }

  struct model_path {
    std::string name;
    std::string version;
    std::string verb;
  };

  // v2/models/{name}[/versions/{version}][/{verb}]
  static model_path parse_model_path(const std::vector<std::string>& path) {
    model_path at{.name = path[2], .version = {}, .verb = {}};
    std::size_t next = 3;
    if (path.size() > 4 && path[3] == "versions") {
      at.version = path[4];
      next = 5;
    }
    if (next < path.size()) at.verb = path[next++];
    if (next < path.size()) at.verb = "?";
    return at;
  }

  asio::awaitable<http::response> infer(http::request what, const std::vector<std::string>& path) {
    const model_path at = parse_model_path(path);
    if (at.verb != "infer") {
      throw error(errc::not_found, "path", "there is nothing at this path; see GET /v2");
    }
    if (what.method != "POST") co_return not_allowed("POST");
    const auto job = std::make_shared<infer_job>();
    job->target = models.find(at.name, at.version);
    if (options.request_timeout.count() > 0) {
      job->until = deadline::after(options.request_timeout);
    }
    job->request = std::move(what);
    try {
      check_envelope(*job);
      if (job->answer.status == 200 && !co_await run_on_worker(job)) {
        job->answer = busy("too many requests are waiting; try again");
      }
    } catch (const error& e) {
      job->answer = failure_response(e);
    }
    job->target->count(job->answer.status, clock::now() - job->arrived);
    options.log.log(log_level::debug, "serving", "inference request",
                    {{"model", job->target->name},
                     {"version", job->target->version},
                     {"status", job->answer.status}});
    co_return std::move(job->answer);
  }

  // What is seen before the body is.
  void check_envelope(infer_job& job) const {
    const http::headers& headers = job.request.headers;
    if (headers.contains("Content-Encoding") && headers.value("Content-Encoding") != "identity") {
      job.answer = error_response(415, "Content-Encoding: compressed requests are not supported");
      return;
    }
    if (const std::string* size = headers.find(v2::json_size_header)) {
      std::size_t value = 0;
      const auto end = size->data() + size->size();
      const auto result = std::from_chars(size->data(), end, value);
      if (result.ec != std::errc() || result.ptr != end) {
        throw error(errc::invalid_argument, v2::json_size_header, "expected a number of bytes");
      }
      job.json_size = value;
    }
    if (!job.target->what->ready()) job.answer = busy("the model is not ready");
  }

  // False if the queue is full. Cancelling it stops the job, and waits for it.
  asio::awaitable<bool> run_on_worker(std::shared_ptr<infer_job> job) {
    auto initiate = [this, job](auto handler) {
      const auto slot = asio::get_associated_cancellation_slot(handler);
      if (slot.is_connected()) {
        auto on_cancel = [job](asio::cancellation_type) { job->stop.request_stop(); };
        const_cast<std::remove_const_t<decltype(slot)>&>(slot).assign(std::move(on_cancel));
      }
      const auto executor = asio::get_associated_executor(handler);
      // Shared only because std::function wants to be copyable.
      const auto resume = std::make_shared<decltype(handler)>(std::move(handler));
      const bool queued = pool->submit([this, job, executor, resume] {
        run(*job);
        asio::post(executor, [resume] { std::move (*resume)(true); });
      });
      if (!queued) {
        asio::post(executor, [resume] { std::move (*resume)(false); });
      }
    };
    co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(bool)>(
        initiate, asio::use_awaitable);
  }

  // From bytes to bytes; on a worker.
  void run(infer_job& job) noexcept {
    const served_model& target = *job.target;
    job.target->waited.observe(clock::now() - job.arrived);
    const gauge_hold here(running);
    try {
      if (stopping) throw error(errc::unavailable, "server", "it is shutting down");
      const mizzen::cancellation cancel{job.stop.get_token(), job.until};
      cancel.check("request");
      v2::infer_request request =
          v2::parse_infer_request(job.request.body, job.json_size, options.limits);
      std::string().swap(job.request.body);
      v2::check_against(request, target.what->metadata());
      infer_call call;
      for (v2::named_tensor& input : request.inputs) {
        call.inputs.emplace(std::move(input.name), std::move(input.value));
      }
      for (const v2::requested_output& output : request.outputs) {
        call.outputs.push_back(output.name);
      }
      call.parameters = request.parameters;
      call.cancel = cancel;
      v2::infer_response response{.id = request.id,
                                  .model_name = target.name,
                                  .model_version = target.version,
                                  .outputs = {}};
      response.outputs = collect(target, call, target.what->infer(call));
      v2::encoded encoded = v2::encode_infer_response(response, request);
      job.answer = http::make_response(200, encoded.content_type(), std::move(encoded.body));
      if (encoded.json_size) {
        job.answer.headers.add(std::string(v2::json_size_header),
                               std::to_string(*encoded.json_size));
      }
    } catch (const error& e) {
      job.answer = failure_response(e);
      if (job.answer.status == 500) log_failure(target);
    } catch (...) {
      job.answer = error_response(500, "the model failed; the server's log says why");
      log_failure(target);
    }
  }

  void log_failure(const served_model& target) const noexcept {
    options.log.log(log_level::error, "serving", "a model failed",
                    {{"model", target.name},
                     {"version", target.version},
                     {"reason", describe(std::current_exception())}});
  }

  // The outputs that are wanted, in the order of the request or else of the model.
  static std::vector<v2::named_tensor> collect(const served_model& target, const infer_call& call,
                                               inference::tensor_map results) {
    std::vector<v2::named_tensor> outputs;
    const auto add = [&](const std::string& name) {
      const auto found = results.find(name);
      if (found == results.end()) {
        throw error(errc::internal, "output '" + name + "'", "the model did not give it");
      }
      outputs.push_back({name, std::move(found->second)});
    };
    if (call.outputs.empty()) {
      for (const inference::value_info& info : target.what->metadata().outputs) add(info.name);
    } else {
      for (const std::string& name : call.outputs) add(name);
    }
    return outputs;
  }

  bool ready() const {
    return serving &&
           std::ranges::all_of(models.all(), [](const auto& each) { return each->what->ready(); });
  }

  std::string metrics() const {
    exposition to;
    const auto all = models.all();
    to.family("mizzen_inference_requests_total", "counter",
              "Inference requests answered, by model, version and HTTP status.");
    for (const auto& each : all) {
      for (std::size_t i = 0; i < infer_statuses.size(); ++i) {
        const std::string status = std::to_string(infer_statuses[i]);
        to.sample({{"model", each->name}, {"version", each->version}, {"status", status}},
                  each->requests[i].value());
      }
    }
    to.family("mizzen_inference_duration_seconds", "histogram",
              "Time from the arrival of an inference request to its answer.");
    for (const auto& each : all) {
      to.sample({{"model", each->name}, {"version", each->version}}, each->duration);
    }
    to.family("mizzen_inference_queue_seconds", "histogram",
              "Time that an inference request waited for a worker.");
    for (const auto& each : all) {
      to.sample({{"model", each->name}, {"version", each->version}}, each->waited);
    }
    to.family("mizzen_other_requests_total", "counter", "Requests that were not inference.");
    to.sample({}, other_requests.value());
    to.family("mizzen_requests_in_flight", "gauge", "Requests that are not answered yet.");
    to.sample({}, static_cast<double>(in_flight.value()));
    to.family("mizzen_inferences_running", "gauge", "Inference requests that a worker has.");
    to.sample({}, static_cast<double>(running.value()));
    to.family("mizzen_queue_length", "gauge", "Inference requests that wait for a worker.");
    to.sample({}, std::uint64_t{pool ? pool->queued() : 0});
    to.family("mizzen_workers", "gauge", "Threads that run models.");
    to.sample({}, std::uint64_t{options.workers});
    to.family("mizzen_connections", "gauge", "Open connections.");
    to.sample({}, std::uint64_t{web ? web->connections() : 0});
    to.family("mizzen_ready", "gauge", "1 if the server is ready.");
    to.sample({}, std::uint64_t{ready() ? 1U : 0U});
    to.family("mizzen_uptime_seconds", "gauge", "Time since the server was started.");
    const std::chrono::duration<double> up = clock::now() - started_at;
    to.sample({}, pool ? up.count() : 0.0);
    write_process_metrics(to);
    return to.take();
  }

  server_options options;
  repository models;
  counter other_requests;
  gauge in_flight;
  gauge running;
  std::atomic<bool> serving = false;   // started and not draining
  std::atomic<bool> stopping = false;  // what is queued is refused
  std::mutex drain_mutex;              // of drain_aborted
  std::condition_variable drain_wake;
  bool drain_aborted = false;
  clock::time_point started_at;

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::optional<worker_pool> pool;
  std::optional<http::server> web;
  std::thread network;
};

server::server(server_options options) : impl_(std::make_unique<impl>(std::move(options))) {}
server::server(server&&) noexcept = default;
server& server::operator=(server&&) noexcept = default;
server::~server() = default;

void server::add_model(std::string name, std::string version, std::shared_ptr<const model> what) {
  impl_->models.add(std::move(name), std::move(version), std::move(what));
}

bool server::remove_model(std::string_view name, std::string_view version) {
  return impl_->models.remove(name, version);
}

void server::start() { impl_->start(); }

std::uint16_t server::port() const {
  if (!impl_->web) throw error(errc::failed_precondition, "port", "call start() first");
  return impl_->web->port();
}

const std::string& server::url() const {
  if (!impl_->web) throw error(errc::failed_precondition, "url", "call start() first");
  return impl_->web->url();
}

std::string server::metrics() const { return impl_->metrics(); }

bool server::drain() { return impl_->drain(); }

void server::stop() noexcept { impl_->stop(); }

int server::run_until_signal() { return run_until_signal({SIGTERM, SIGINT}); }

int server::run_until_signal(std::initializer_list<int> signals) {
  asio::io_context waiting{1};
  asio::signal_set awaited(waiting);
  for (const int each : signals) awaited.add(each);
  if (!impl_->web) start();

  bool all_answered = true;
  std::thread draining;
  awaited.async_wait([&](const boost::system::error_code& ec, int signal) {
    if (ec) return;
    impl_->options.log.log(log_level::info, "serving", "signal received", {{"signal", signal}});
    draining = std::thread([&] {
      all_answered = drain();
      asio::post(waiting, [&] { awaited.cancel(); });
    });
    awaited.async_wait([&](const boost::system::error_code& failure, int) {
      if (!failure) impl_->abort_drain();
    });
  });
  waiting.run();
  if (draining.joinable()) draining.join();
  stop();
  return all_answered ? 0 : 1;
}

}  // namespace mizzen::serving
