#include "core/base64.hpp"
#include "kubernetes/credential_cache.hpp"
#include "kubernetes/exec_info.hpp"
#include "kubernetes/exec_process.hpp"
#include "kubernetes/files.hpp"
#include "kubernetes/impersonate.hpp"
#include "kubernetes/oidc.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/kubernetes/auth.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <exception>
#include <mutex>
#include <optional>
#include <stop_token>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace detail;

constexpr std::size_t max_pem = std::size_t{4} << 20;
constexpr std::size_t max_token = std::size_t{16} << 20;

// What the TLS options are made of.
struct pem_material {
  std::string ca;
  std::string certificate;
  std::string key;
  friend bool operator==(const pem_material&, const pem_material&) = default;
};

std::string read_pem(const fs::path& file) {
  std::optional<file_content> content = read_file(file, max_pem);
  if (!content) throw error(errc::invalid_argument, file.string(), "there is no such file");
  return std::move(content->text);
}

// One refresh, and those who wait for it. Everything happens on the strand.
struct refresh_run {
  struct waiter {
    explicit waiter(const asio::any_io_executor& on) : timer(on) {}
    asio::steady_timer timer;
    bool cancelled = false;
  };
  std::vector<std::shared_ptr<waiter>> waiters;
  asio::cancellation_signal stop;
  std::exception_ptr failure;
  bool done = false;
};

}  // namespace

struct authenticator::impl : std::enable_shared_from_this<authenticator::impl> {
  using strand = asio::strand<asio::any_io_executor>;

  impl(asio::any_io_executor on, config with, authenticator_options how)
      : executor(std::move(on)),
        on_strand(asio::make_strand(executor)),
        from(std::move(with)),
        options(std::move(how)),
        files(options.file_period),
        token_file(options.file_period) {
    if (from.origin.empty()) from.origin = "config";
    secure = !from.server.starts_with("http://");
    const credentials& user = from.user;
    if (!secure) return;

    if (from.insecure_skip_tls_verify) {
      options.log.log(log_level::warning, "kubernetes",
                      "the server's certificate is not verified: anyone on the path can read and "
                      "change everything",
                      {{"server", from.server}, {"config", from.origin}});
    }
    const bool basic = !user.username.empty() || !user.password.empty();
    const bool token = !user.token.empty() || !user.token_file.empty();
    if (basic && token) {
      refuse("user", "holds both a token and a username");
    }
    if (basic && user.username.find(':') != std::string::npos) {
      refuse("user.username", "a user name with a colon cannot be sent");
    }
    const bool certificate = !user.certificate_pem.empty() || !user.certificate_file.empty();
    if (certificate && user.key_pem.empty() && user.key_file.empty()) {
      refuse("user", "holds a client certificate, but no key");
    }
    // A credential that is there goes before one that must be fetched, as client-go has it.
    const bool settled = basic || token || certificate;
    if (user.exec && user.oidc) refuse("user", "holds both an exec plugin and an OIDC provider");
    if (user.exec && !settled) {
      if (!options.allow_exec) {
        throw error(errc::permission_denied, from.origin,
                    "it runs the plugin '" + user.exec->command +
                        "', which authenticator_options.allow_exec forbids");
      }
      exec = true;
    }
    if (user.oidc && !basic && !token) {
      oidc = user.oidc;
      if (!oidc->id_token.empty()) {
        exec_credential first{.token = oidc->id_token};
        try {
          first.expires = jwt_expiry(oidc->id_token);
        } catch (const error& e) {
          refuse("user.oidc.id_token", e.message());
        }
        cache.put(std::move(first));
      }
    }
    accepted = read_material();
    check(accepted);
    files.looked(now());
  }

  [[noreturn]] void refuse(std::string_view field, std::string_view why) const {
    throw error(errc::invalid_argument, from.origin + ": " + std::string(field), why);
  }

  wall_clock::time_point now() const { return options.now ? options.now() : wall_clock::now(); }

  pem_material read_material() const {
    const credentials& user = from.user;
    const auto either = [](const std::string& pem, const fs::path& file) {
      return !pem.empty() || file.empty() ? pem : read_pem(file);
    };
    return {either(from.ca_pem, from.ca_file), either(user.certificate_pem, user.certificate_file),
            either(user.key_pem, user.key_file)};
  }

  http::tls_client_options tls_options(const pem_material& material) const {
    return {.ca_pem = material.ca,
            .certificate_pem = material.certificate,
            .key_pem = material.key,
            .server_name = from.tls_server_name,
            .verify = !from.insecure_skip_tls_verify};
  }

  // Throws error(invalid_argument) if no client can be made of it.
  void check(const pem_material& material) const {
    try {
      const http::client trial(executor, {.tls = tls_options(material)});
    } catch (const error& e) {
      throw error(e.code(), from.origin + ": " + e.subject(), e.message(),
                  std::current_exception());
    }
  }

  // Looks at the files of certificates and authorities. A file that is gone or half written is no
  // reason to stop: what was read before stays until the files make sense again.
  void look_at_files(bool at_once) {
    const credentials& user = from.user;
    const bool any =
        !from.ca_file.empty() || !user.certificate_file.empty() || !user.key_file.empty();
    const std::lock_guard lock(mutex);
    if (!any || (!at_once && !files.due(now()))) return;
    files.looked(now());
    try {
      pem_material fresh = read_material();
      if (exec) {
        fresh.certificate = accepted.certificate;
        fresh.key = accepted.key;
      }
      if (fresh == accepted) return;
      check(fresh);
      accepted = std::move(fresh);
      ++tls_generation;
      options.log.log(log_level::info, "kubernetes", "certificates were read again",
                      {{"config", from.origin}});
    } catch (const error& e) {
      options.log.log(log_level::warning, "kubernetes",
                      "certificates cannot be read again; the old ones are used",
                      {{"error", e.what()}});
    }
  }

  // Reads the token file if it is due; the last token that could be read is used.
  void look_at_token(bool at_once) {
    if (from.user.token_file.empty()) return;
    const std::lock_guard lock(mutex);
    if (!at_once && !token_file.due(now())) return;
    const std::string subject = from.user.token_file.string();
    try {
      std::optional<file_content> content = read_file(from.user.token_file, max_token);
      if (!content) throw error(errc::unauthenticated, subject, "there is no such token file");
      exec_credential fresh{.token = trimmed(std::move(content->text))};
      if (fresh.token.empty()) {
        throw error(errc::unauthenticated, subject, "the token file is empty");
      }
      cache.put(std::move(fresh));
      token_file.looked(now());
    } catch (const error& e) {
      if (!cache.current() && from.user.token.empty()) {
        throw error(errc::unauthenticated, e.subject(), e.message(), std::current_exception());
      }
      token_file.looked(now());
      options.log.log(log_level::warning, "kubernetes",
                      "the token file cannot be read; the old token is used",
                      {{"error", e.what()}});
    }
  }

  bool fetches() const noexcept { return exec || oidc.has_value(); }

  bool due() {
    const std::lock_guard lock(mutex);
    return fetches() && cache.due(now());
  }

  static asio::awaitable<authorization> authorize(std::shared_ptr<impl> self, http::request& what,
                                                  cancellation cancel) {
    add_impersonation(self->from.impersonate, what.headers);
    if (!self->secure) co_return authorization{};
    self->look_at_files(false);
    // The caller's own header goes before ours; a client certificate may be wanted all the same.
    if (!what.headers.contains("Authorization")) self->look_at_token(false);
    if (self->due()) {
      auto fresh = wait_for_credential(self, cancel);
      co_await asio::co_spawn(self->on_strand, std::move(fresh), asio::use_awaitable);
    }
    co_return self->apply(what.headers);
  }

  // Writes the Authorization header of what is known now.
  authorization apply(http::headers& headers) {
    const std::lock_guard lock(mutex);
    const authorization with{cache.generation(), tls_generation};
    if (headers.contains("Authorization")) return with;
    const credentials& user = from.user;
    if (!user.username.empty() || !user.password.empty()) {
      headers.set("Authorization",
                  "Basic " + mizzen::detail::base64_encode(user.username + ":" + user.password));
    } else if (cache.current() && !cache.current()->token.empty()) {
      set_bearer(headers, cache.current()->token);
    } else if (!user.token.empty()) {
      set_bearer(headers, user.token);
    }
    return with;
  }

  void set_bearer(http::headers& headers, const std::string& token) const {
    try {
      headers.set("Authorization", "Bearer " + token);
    } catch (const error&) {
      throw error(errc::invalid_argument, from.origin + ": token",
                  "holds a line break or another character that no header can");
    }
  }

  static asio::awaitable<bool> refresh_after_401(std::shared_ptr<impl> self, authorization with,
                                                 cancellation cancel) {
    if (!self->secure) co_return false;
    self->look_at_files(true);
    {
      const std::lock_guard lock(self->mutex);
      if (self->cache.generation() != with.credential || self->tls_generation != with.tls) {
        co_return true;
      }
      self->cache.refuse(with.credential);
    }
    self->look_at_token(true);
    if (self->due()) {
      auto fresh = wait_for_credential(self, cancel);
      co_await asio::co_spawn(self->on_strand, std::move(fresh), asio::use_awaitable);
    }
    const std::lock_guard lock(self->mutex);
    co_return self->cache.generation() != with.credential || self->tls_generation != with.tls;
  }

  // On the strand: starts a refresh, or joins the one that runs.
  static asio::awaitable<void> wait_for_credential(std::shared_ptr<impl> self,
                                                   cancellation cancel) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    cancel.check("credentials of " + self->from.origin);
    if (!self->due()) co_return;
    std::shared_ptr<refresh_run> run = self->running;
    if (!run) {
      run = std::make_shared<refresh_run>();
      self->running = run;
      auto work = refresh(self, run);
      asio::co_spawn(self->on_strand, std::move(work),
                     asio::bind_cancellation_slot(
                         run->stop.slot(), [run](const std::exception_ptr&) { /* in the run */ }));
    }
    const auto own = std::make_shared<refresh_run::waiter>(self->on_strand);
    run->waiters.push_back(own);
    const std::stop_callback stop(cancel.token, [own, on = self->on_strand] {
      asio::post(on, [own] {
        own->cancelled = true;
        own->timer.cancel();
      });
    });
    boost::system::error_code ec;
    own->timer.expires_at(cancel.deadline.time_point());
    if (!run->done) co_await own->timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    std::erase(run->waiters, own);
    if (run->done) {
      if (run->failure) std::rethrow_exception(run->failure);
      co_return;
    }
    // Nobody wants it any more.
    if (run->waiters.empty()) {
      if (self->running == run) self->running.reset();
      run->stop.emit(asio::cancellation_type::terminal);
    }
    const bool late = !own->cancelled && cancel.deadline.expired();
    throw error(late ? errc::deadline_exceeded : errc::cancelled,
                "credentials of " + self->from.origin,
                late ? "the deadline passed while they were fetched" : "cancelled by the caller");
  }

  // The refresh itself: never throws, tells those who wait.
  static asio::awaitable<void> refresh(std::shared_ptr<impl> self,
                                       std::shared_ptr<refresh_run> run) {
    try {
      if (self->exec) {
        co_await run_plugin(self);
      } else {
        co_await refresh_oidc(self);
      }
    } catch (const error& e) {
      run->failure = std::current_exception();
      const std::lock_guard lock(self->mutex);
      if (self->cache.keep(self->now())) {
        run->failure = nullptr;
        self->options.log.log(log_level::warning, "kubernetes",
                              "no new credential; the old one has not expired yet",
                              {{"error", e.what()}});
      }
    } catch (...) {
      run->failure = std::current_exception();
    }
    run->done = true;
    if (self->running == run) self->running.reset();
    for (const auto& each : run->waiters) each->timer.cancel();
  }

  bool is_interactive(const exec_plugin& plugin) const {
    const interactive_mode mode = plugin.interactive.value_or(interactive_mode::if_available);
    const bool available = options.stdin_available && ::isatty(STDIN_FILENO) == 1;
    if (mode == interactive_mode::always && !available) {
      throw error(errc::unauthenticated, "exec plugin '" + plugin.command + "'",
                  "wants to ask somebody (interactiveMode: Always), but standard input is not a "
                  "terminal, or is not for plugins (stdin_available)");
    }
    return mode != interactive_mode::never && available;
  }

  static asio::awaitable<void> run_plugin(std::shared_ptr<impl> self) {
    const exec_plugin& plugin = *self->from.user.exec;
    const authenticator_options& how = self->options;
    process_options options;
    options.name = "exec plugin '" + plugin.command + "'";
    options.interactive = self->is_interactive(plugin);
    options.command = plugin.command;
    options.arguments = plugin.arguments;
    options.environment = plugin.environment;
    options.environment.emplace_back("KUBERNETES_EXEC_INFO", self->info(options.interactive));
    options.install_hint = plugin.install_hint;
    options.on_stderr = how.exec_stderr;
    options.inherit_stderr = options.interactive && !how.exec_stderr;
    options.output_limit = how.exec_output_limit;
    const auto limit = options.interactive ? how.interactive_timeout : how.exec_timeout;
    if (limit.count() > 0) options.until = deadline::after(limit);
    const std::string name = options.name;

    auto running = run_process(self->on_strand, std::move(options));
    const process_result result = co_await std::move(running);
    const std::string said = printable(trimmed(result.errors));
    if (result.status.value_or(0) != 0) {
      throw error(errc::unauthenticated, name,
                  "failed with exit status " + std::to_string(*result.status) +
                      (said.empty() ? "" : ": " + said));
    }
    if (!said.empty()) {
      how.log.log(log_level::info, "kubernetes", "a plugin wrote to standard error",
                  {{"plugin", plugin.command}, {"text", said}});
    }
    self->take(parse(name, result.output, plugin.api_version, said), name);
  }

  std::string info(bool interactive) {
    const std::lock_guard lock(mutex);
    return exec_info(*from.user.exec, from, accepted.ca, interactive);
  }

  static exec_credential parse(const std::string& name, const std::string& printed,
                               const std::string& api_version, const std::string& said) {
    try {
      return parse_exec_credential(printed, api_version);
    } catch (const error& e) {
      throw error(errc::unauthenticated, name,
                  "printed no usable credential: " + std::string(e.what()) +
                      (said.empty() ? "" : "; it said: " + said),
                  std::current_exception());
    }
  }

  // What a plugin has handed out becomes what requests use.
  void take(exec_credential fresh, const std::string& name) {
    const std::lock_guard lock(mutex);
    pem_material material = accepted;
    material.certificate = fresh.certificate_pem;
    material.key = fresh.key_pem;
    if (material != accepted) {
      try {
        check(material);
      } catch (const error& e) {
        throw error(errc::unauthenticated, name,
                    "handed out an unusable client certificate: " + e.message(),
                    std::current_exception());
      }
      accepted = std::move(material);
      ++tls_generation;
    }
    cache.put(std::move(fresh));
  }

  static asio::awaitable<void> refresh_oidc(std::shared_ptr<impl> self) {
    oidc_provider provider = *self->oidc;
    http::client_options with;
    with.tls.ca_pem = provider.ca_pem;
    if (provider.ca_pem.empty()) with.tls.ca_file = provider.ca_file.string();
    with.timeout = self->options.oidc_timeout;
    with.max_body = std::size_t{4} << 20;
    with.proxy = proxy_from_environment(provider.issuer_url);
    with.log = self->options.log;
    http::client issuer(self->executor, std::move(with));
    auto asking = refresh_tokens(issuer, std::move(provider), {});
    oidc_provider fresh = co_await std::move(asking);

    exec_credential credential{.token = fresh.id_token};
    try {
      credential.expires = jwt_expiry(fresh.id_token);
    } catch (const error& e) {
      throw error(errc::unauthenticated, "OIDC issuer " + fresh.issuer_url,
                  "its id_token is unusable: " + e.message(), std::current_exception());
    }
    {
      const std::lock_guard lock(self->mutex);
      self->cache.put(std::move(credential));
      self->oidc = fresh;
    }
    if (self->options.oidc_refreshed) self->options.oidc_refreshed(fresh);
  }

  tls_material tls() {
    const std::lock_guard lock(mutex);
    return {tls_options(accepted), tls_generation};
  }

  asio::any_io_executor executor;
  asio::any_io_executor on_strand;
  config from;
  authenticator_options options;
  bool secure = true;
  bool exec = false;

  // On the strand only.
  std::shared_ptr<refresh_run> running;

  std::mutex mutex;  // what follows
  std::optional<oidc_provider> oidc;
  credential_cache cache;
  look_schedule files;
  look_schedule token_file;
  pem_material accepted;
  std::uint64_t tls_generation = 1;
};

authenticator::authenticator(asio::any_io_executor executor, config from,
                             authenticator_options options)
    : impl_(std::make_shared<impl>(std::move(executor), std::move(from), std::move(options))) {}
authenticator::authenticator(authenticator&&) noexcept = default;
authenticator& authenticator::operator=(authenticator&&) noexcept = default;
authenticator::~authenticator() = default;

asio::awaitable<authorization> authenticator::authorize(http::request& what, cancellation cancel) {
  return impl::authorize(impl_, what, std::move(cancel));
}

asio::awaitable<bool> authenticator::refresh_after_401(authorization with, cancellation cancel) {
  return impl::refresh_after_401(impl_, with, std::move(cancel));
}

tls_material authenticator::tls() const { return impl_->tls(); }

}  // namespace mizzen::kubernetes
