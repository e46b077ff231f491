#include "../http/loopback.hpp"
#include "identities.hpp"
#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/kubernetes/auth.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fcntl.h>
#include <future>
#include <map>
#include <mutex>
#include <signal.h>
#include <stdexcept>
#include <stdlib.h>
#include <stop_token>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using http::test::event_loop;
using http::test::eventually;
using test::first_identity;
using test::scratch;
using test::second_identity;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A clock that the test moves.
class manual_clock {
 public:
  std::chrono::system_clock::time_point now() const {
    return start_ + std::chrono::seconds(passed_.load());
  }
  void advance(std::chrono::seconds by) { passed_ += by.count(); }
  std::string in(std::chrono::seconds later) const { return format_rfc3339(now() + later); }

 private:
  const std::chrono::system_clock::time_point start_ = parse_rfc3339("2026-11-22T12:00:00Z");
  std::atomic<std::int64_t> passed_ = 0;
};

// True once the process is gone, or at least dead and waiting for its parent.
bool is_dead(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.empty() || text.find(") Z") != std::string::npos;
}

class AuthTest : public testing::Test {
 protected:
  authenticator_options options() {
    return {.stdin_available = false, .now = [this] { return clock.now(); }};
  }
  authenticator make(config from) { return make(std::move(from), options()); }
  authenticator make(config from, authenticator_options with) {
    return authenticator(loop.executor(), std::move(from), std::move(with));
  }

  authorization authorize(authenticator& auth, http::request& what, cancellation cancel = {}) {
    return loop.run(auth.authorize(what, std::move(cancel)));
  }
  // The Authorization header that a request gets now.
  std::string header(authenticator& auth) {
    http::request what;
    authorize(auth, what);
    return std::string(what.headers.value("Authorization"));
  }
  errc failure(authenticator& auth, std::string* text = nullptr, cancellation cancel = {}) {
    try {
      http::request what;
      authorize(auth, what, std::move(cancel));
    } catch (const error& e) {
      if (text) *text = e.what();
      return e.code();
    }
    ADD_FAILURE() << "no error";
    return errc::internal;
  }

  // A config with a plugin that is this shell script.
  config with_plugin(const std::string& script) {
    const fs::path file = folder.write("plugin", "#!/bin/sh\n" + script, true);
    config from{.server = "https://h"};
    from.user.exec = exec_plugin{.command = file.string(),
                                 .api_version = "client.authentication.k8s.io/v1",
                                 .interactive = interactive_mode::never};
    return from;
  }
  // What a plugin prints, for `cat`: the status and the lines around it.
  fs::path credential(const std::string& status, const std::string& name = "credential") {
    return folder.write(name, R"({"kind": "ExecCredential", )"
                              R"("apiVersion": "client.authentication.k8s.io/v1", "status": )" +
                                  status + "}");
  }
  // A script that counts its runs in the file `runs` and prints the credential.
  std::string counting() {
    return "echo run >> '" + (folder / "runs").string() + "'\ncat '" +
           (folder / "credential").string() + "'\n";
  }
  int runs() const {
    std::ifstream file(folder / "runs");
    int count = 0;
    for (std::string line; std::getline(file, line);) ++count;
    return count;
  }
  std::string content(const std::string& name) const {
    std::ifstream file(folder / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const scratch folder;
  manual_clock clock;
  event_loop loop{2};
};

TEST_F(AuthTest, SendsTokensAndPasswords) {
  config from{.server = "https://h"};
  from.user.token = "abc";
  authenticator token = make(from);
  EXPECT_EQ(header(token), "Bearer abc");

  http::request own;
  own.headers.set("Authorization", "Bearer mine");
  const authorization with = authorize(token, own);
  EXPECT_THAT(own.headers.values("Authorization"), ElementsAre("Bearer mine"));
  EXPECT_FALSE(loop.run(token.refresh_after_401(with)));

  from.user = {.username = "me", .password = "a:b"};
  authenticator basic = make(from);
  EXPECT_EQ(header(basic), "Basic bWU6YTpi");

  authenticator nobody = make({.server = "https://h"});
  EXPECT_EQ(header(nobody), "");
}

TEST_F(AuthTest, SendsNoCredentialInTheClear) {
  config from{.server = "http://h"};
  from.user.token = "abc";
  from.user.exec = exec_plugin{.command = "/no/such/plugin"};
  authenticator auth = make(from);
  EXPECT_EQ(header(auth), "");
}

TEST_F(AuthTest, Impersonates) {
  config from{.server = "http://h"};
  from.impersonate = {.user = "boss",
                      .uid = "17",
                      .groups = {"a", "b"},
                      .extra = {{"acme.com/project", {"x", "y"}}, {"50%ü", {"z"}}}};
  authenticator auth = make(from);
  http::request what;
  authorize(auth, what);
  EXPECT_EQ(what.headers.value("Impersonate-User"), "boss");
  EXPECT_EQ(what.headers.value("Impersonate-Uid"), "17");
  EXPECT_THAT(what.headers.values("Impersonate-Group"), ElementsAre("a", "b"));
  EXPECT_THAT(what.headers.values("Impersonate-Extra-acme.com%2Fproject"), ElementsAre("x", "y"));
  EXPECT_THAT(what.headers.values("Impersonate-Extra-50%25%C3%BC"), ElementsAre("z"));

  http::request own;
  own.headers.set("Impersonate-User", "me");
  authorize(auth, own);
  EXPECT_THAT(own.headers, SizeIs(1));
}

TEST_F(AuthTest, ReadsTheTokenFileAgain) {
  config from{.server = "https://h"};
  from.user.token = "fallback";
  from.user.token_file = folder.write("token", "one\n");
  authenticator auth = make(from);
  EXPECT_EQ(header(auth), "Bearer one");

  folder.write("token", "two");
  EXPECT_EQ(header(auth), "Bearer one");
  clock.advance(10s);
  EXPECT_EQ(header(auth), "Bearer two");

  // Gone or empty: the last one is used, until there is another one.
  fs::remove(folder / "token");
  clock.advance(10s);
  EXPECT_EQ(header(auth), "Bearer two");
  folder.write("token", "\n");
  clock.advance(10s);
  EXPECT_EQ(header(auth), "Bearer two");
  folder.write("token", "three");
  clock.advance(10s);
  EXPECT_EQ(header(auth), "Bearer three");

  // A 401 does not wait for the period.
  http::request what;
  const authorization with = authorize(auth, what);
  EXPECT_FALSE(loop.run(auth.refresh_after_401(with)));
  folder.write("token", "four");
  EXPECT_TRUE(loop.run(auth.refresh_after_401(with)));
  EXPECT_EQ(header(auth), "Bearer four");
  // Another request with the old token learns that there is a new one.
  EXPECT_TRUE(loop.run(auth.refresh_after_401(with)));
}

TEST_F(AuthTest, ATokenFileThatWasNeverThereIsAnError) {
  config from{.server = "https://h"};
  from.user.token_file = folder / "token";
  authenticator auth = make(from);
  std::string text;
  EXPECT_EQ(failure(auth, &text), errc::unauthenticated);
  EXPECT_THAT(text, HasSubstr((folder / "token").string()));
  folder.write("token", "late");
  EXPECT_EQ(header(auth), "Bearer late");

  from.user.token = "fallback";
  fs::remove(folder / "token");
  authenticator second = make(from);
  EXPECT_EQ(header(second), "Bearer fallback");
}

TEST_F(AuthTest, RunsThePluginWithItsArgumentsAndEnvironment) {
  config from =
      with_plugin("for a in \"$@\"; do echo \"$a\" >> '" + (folder / "arguments").string() +
                  "'; done\nenv > '" + (folder / "environment").string() + "'\n" + counting());
  credential(R"({"token": "t"})");
  from.user.exec->arguments = {"--cluster", "a  b", "", "it's \"$HOME\" `x`", "*"};
  from.user.exec->environment = {{"AWS_PROFILE", "dev team; echo"}, {"HOME", "/nowhere"}};
  from.user.exec->provide_cluster_info = true;
  from.exec_extension = R"({"audience":"a"})";
  authenticator auth = make(from);
  EXPECT_EQ(header(auth), "Bearer t");
  EXPECT_EQ(content("arguments"), "--cluster\na  b\n\nit's \"$HOME\" `x`\n*\n");
  const std::string environment = content("environment");
  EXPECT_THAT(environment, HasSubstr("AWS_PROFILE=dev team; echo\n"));
  EXPECT_THAT(environment, HasSubstr("HOME=/nowhere\n"));
  const std::size_t info = environment.find("KUBERNETES_EXEC_INFO=");
  ASSERT_NE(info, std::string::npos);
  const json spec =
      json::parse(environment.substr(info + 21, environment.find('\n', info) - info - 21))["spec"];
  EXPECT_EQ(spec["interactive"], false);
  EXPECT_EQ(spec["cluster"]["server"], "https://h");
  EXPECT_EQ(spec["cluster"]["config"]["audience"], "a");
}

TEST_F(AuthTest, AsksThePluginAgainWhenItsCredentialExpires) {
  credential(R"({"token": "one", "expirationTimestamp": ")" + clock.in(60s) + "\"}");
  authenticator auth = make(with_plugin(counting()));
  EXPECT_EQ(header(auth), "Bearer one");
  clock.advance(45s);
  EXPECT_EQ(header(auth), "Bearer one");
  EXPECT_EQ(runs(), 1);
  credential(R"({"token": "two"})");
  clock.advance(10s);
  EXPECT_EQ(header(auth), "Bearer two");
  clock.advance(1000h);
  EXPECT_EQ(header(auth), "Bearer two");
  EXPECT_EQ(runs(), 2);
}

TEST_F(AuthTest, ManyRequestsRunThePluginOnce) {
  credential(R"({"token": "one"})");
  authenticator auth = make(with_plugin(counting()));
  const auto all = [&](auto start) {
    std::vector<decltype(start())> pending;
    for (int i = 0; i < 50; ++i) pending.push_back(start());
    for (auto& each : pending) each.get();
  };
  std::vector<http::request> requests(50);
  std::size_t next = 0;
  all([&] {
    return asio::co_spawn(loop.executor(), auth.authorize(requests[next++]), asio::use_future);
  });
  for (const http::request& each : requests) {
    EXPECT_EQ(each.headers.value("Authorization"), "Bearer one");
  }
  EXPECT_EQ(runs(), 1);

  http::request what;
  const authorization with = authorize(auth, what);
  credential(R"({"token": "two"})");
  std::atomic<int> again = 0;
  all([&] {
    return asio::co_spawn(
        loop.executor(),
        [](authenticator& from, authorization old,
           std::atomic<int>& count) -> asio::awaitable<void> {
          if (co_await from.refresh_after_401(old)) ++count;
        }(auth, with, again),
        asio::use_future);
  });
  EXPECT_EQ(again, 50);
  EXPECT_EQ(runs(), 2);
  EXPECT_EQ(header(auth), "Bearer two");

  // The same once more is no reason to send again.
  const authorization now = authorize(auth, what);
  EXPECT_FALSE(loop.run(auth.refresh_after_401(now)));
  EXPECT_EQ(runs(), 3);
}

TEST_F(AuthTest, TakesCertificatesOfThePlugin) {
  const auto status = [](const test::identity& of) {
    return json{{"clientCertificateData", of.certificate}, {"clientKeyData", of.key}}.dump();
  };
  credential(status(first_identity));
  authenticator auth = make(with_plugin(counting()));
  const std::uint64_t before = auth.tls().generation;
  http::request what;
  const authorization with = authorize(auth, what);
  EXPECT_FALSE(what.headers.contains("Authorization"));
  EXPECT_NE(with.tls, before);
  EXPECT_EQ(auth.tls().generation, with.tls);
  EXPECT_EQ(auth.tls().options.certificate_pem, first_identity.certificate);

  credential(status(second_identity));
  EXPECT_TRUE(loop.run(auth.refresh_after_401(with)));
  EXPECT_EQ(auth.tls().options.key_pem, second_identity.key);
  EXPECT_NE(auth.tls().generation, with.tls);

  credential(status({first_identity.certificate, second_identity.key}));
  const authorization now = authorize(auth, what);
  try {
    loop.run(auth.refresh_after_401(now));
    ADD_FAILURE() << "a key of another certificate was taken";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::unauthenticated);
    EXPECT_THAT(e.what(), HasSubstr("unusable client certificate"));
    EXPECT_THAT(e.what(), Not(HasSubstr("PRIVATE")));
  }
}

TEST_F(AuthTest, TokensMayBeLongerThanAPipe) {
  const std::string token(200'000, 'x');
  credential(R"({"token": ")" + token + "\"}");
  authenticator auth = make(with_plugin("head -c 300000 /dev/zero >&2\n" + counting()));
  EXPECT_EQ(header(auth), "Bearer " + token);
}

TEST_F(AuthTest, SaysWhyThePluginFailed) {
  std::string text;
  authenticator failing = make(with_plugin("echo 'token has \033[1mexpired' >&2\nexit 3\n"));
  EXPECT_EQ(failure(failing, &text), errc::unauthenticated);
  EXPECT_THAT(text, HasSubstr("failed with exit status 3: token has ?[1mexpired"));

  authenticator killed = make(with_plugin("kill -9 $$\n"));
  EXPECT_EQ(failure(killed, &text), errc::unauthenticated);
  EXPECT_THAT(text, HasSubstr("exit status 137"));

  authenticator wrong = make(with_plugin("echo secret; echo words >&2\n"));
  EXPECT_EQ(failure(wrong, &text), errc::unauthenticated);
  EXPECT_THAT(
      text, AllOf(HasSubstr("no usable credential"), HasSubstr("words"), Not(HasSubstr("secret"))));

  config missing{.server = "https://h"};
  missing.user.exec = exec_plugin{.command = "mizzen-no-such-plugin",
                                  .install_hint = "Run:\n  get it",
                                  .interactive = interactive_mode::never};
  authenticator absent = make(missing);
  EXPECT_EQ(failure(absent, &text), errc::not_found);
  EXPECT_THAT(text, HasSubstr("no 'mizzen-no-such-plugin' in PATH; install it\nRun:\n  get it"));

  folder.write("no-script", "words", true);
  missing.user.exec->command = (folder / "no-script").string();
  authenticator script = make(missing);
  EXPECT_EQ(failure(script, &text), errc::unauthenticated);
  EXPECT_THAT(text, HasSubstr("must begin with #!"));
}

TEST_F(AuthTest, KillsAPluginThatHangs) {
  authenticator_options with = options();
  with.exec_timeout = 300ms;
  authenticator auth = make(
      with_plugin("sleep 1000 &\necho $! > '" + (folder / "pid").string() + "'\nwait\n"), with);
  std::string text;
  EXPECT_EQ(failure(auth, &text), errc::deadline_exceeded);
  // With what it has started.
  const int pid = std::stoi("0" + content("pid"));
  EXPECT_TRUE(pid == 0 || eventually([&] { return is_dead(pid); }));
}

TEST_F(AuthTest, KillsThePluginWhenNobodyWaitsAnyMore) {
  authenticator auth =
      make(with_plugin("echo $$ > '" + (folder / "pid").string() + "'\nexec sleep 1000\n"));
  std::stop_source first;
  std::stop_source second;
  http::request one;
  http::request two;
  auto waits = asio::co_spawn(loop.executor(), auth.authorize(one, {first.get_token(), {}}),
                              asio::use_future);
  auto joins = asio::co_spawn(loop.executor(), auth.authorize(two, {second.get_token(), {}}),
                              asio::use_future);
  ASSERT_TRUE(eventually([&] { return content("pid").ends_with("\n"); }));
  const int pid = std::stoi(content("pid"));
  const auto code = [](auto& future) {
    try {
      future.get();
    } catch (const error& e) {
      return e.code();
    }
    return errc::internal;
  };
  first.request_stop();
  EXPECT_EQ(code(waits), errc::cancelled);
  EXPECT_FALSE(is_dead(pid));
  second.request_stop();
  EXPECT_EQ(code(joins), errc::cancelled);
  EXPECT_TRUE(eventually([&] { return is_dead(pid); }));
}

TEST_F(AuthTest, ACallersDeadlineHolds) {
  authenticator auth = make(with_plugin("exec sleep 1000\n"));
  EXPECT_EQ(failure(auth, nullptr, {{}, deadline::after(200ms)}), errc::deadline_exceeded);
}

TEST_F(AuthTest, BoundsWhatThePluginPrints) {
  authenticator_options with = options();
  with.exec_output_limit = 64 << 10;
  authenticator auth = make(with_plugin("exec cat /dev/zero\n"), with);
  EXPECT_EQ(failure(auth), errc::resource_exhausted);
}

// A plugin that starts a daemon, which keeps the pipes: its credential counts all the same.
TEST_F(AuthTest, DoesNotWaitForWhatThePluginLeavesBehind) {
  credential(R"({"token": "t"})");
  authenticator auth = make(
      with_plugin("sleep 1000 &\necho $! > '" + (folder / "pid").string() + "'\n" + counting()));
  EXPECT_EQ(header(auth), "Bearer t");
  ::kill(std::stoi(content("pid")), SIGKILL);
}

std::vector<std::string> open_descriptors() {
  std::vector<std::string> open;
  for (const auto& each : fs::directory_iterator("/proc/self/fd")) {
    open.push_back(each.path().filename().string());
  }
  return open;
}

TEST_F(AuthTest, LeaksNoDescriptors) {
  credential(R"({"token": "t"})");
  const int leaky = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  authenticator auth = make(
      with_plugin("ls /proc/self/fd > '" + (folder / "descriptors").string() + "'\n" + counting()));
  http::request what;
  authorization with = authorize(auth, what);
  const std::size_t before = open_descriptors().size();
  for (int i = 0; i < 10; ++i) loop.run(auth.refresh_after_401(with));
  EXPECT_EQ(open_descriptors().size(), before);
  // ls has one more for the folder that it lists.
  EXPECT_EQ(content("descriptors"), "0\n1\n2\n3\n");
  ::close(leaky);
}

TEST_F(AuthTest, PluginsMayBeForbiddenOrWantATerminal) {
  authenticator_options with = options();
  with.allow_exec = false;
  try {
    make(with_plugin(""), with);
    FAIL() << "the plugin was allowed";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::permission_denied);
  }
  config from = with_plugin("");
  from.user.exec->interactive = interactive_mode::always;
  authenticator auth = make(from);
  std::string text;
  EXPECT_EQ(failure(auth, &text), errc::unauthenticated);
  EXPECT_THAT(text, HasSubstr("interactiveMode: Always"));
}

// A terminal as standard input for the length of a test.
class terminal {
 public:
  terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)), before_(::dup(0)) {
    if (::grantpt(master_) != 0 || ::unlockpt(master_) != 0)
      throw std::runtime_error("no terminal");
    const int slave = ::open(::ptsname(master_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ::dup2(slave, 0);
    ::close(slave);
  }
  ~terminal() {
    ::dup2(before_, 0);
    ::close(before_);
    ::close(master_);
  }
  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;
  bool type(const std::string& text) {
    return ::write(master_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }

 private:
  int master_;
  int before_;
};

TEST_F(AuthTest, InteractivePluginsAskOnTheTerminal) {
  config from = with_plugin(
      "read -r answer\necho '{\"kind\": \"ExecCredential\", \"apiVersion\": "
      "\"client.authentication.k8s.io/v1\", \"status\": {\"token\": \"'$answer'\"}}'\n");
  authenticator_options with = options();
  with.stdin_available = true;
  terminal keyboard;
  ASSERT_TRUE(keyboard.type("pin-1234\npin-5678\n"));
  from.user.exec->interactive = interactive_mode::always;
  authenticator always = make(from, with);
  EXPECT_EQ(header(always), "Bearer pin-1234");
  from.user.exec->interactive = interactive_mode::if_available;
  authenticator available = make(from, with);
  EXPECT_EQ(header(available), "Bearer pin-5678");
  // Never: nothing to read, so an empty token, which is none.
  from.user.exec->interactive = interactive_mode::never;
  authenticator never = make(from, with);
  EXPECT_EQ(failure(never), errc::unauthenticated);
}

TEST_F(AuthTest, ATokenGoesBeforeThePlugin) {
  config from = with_plugin("exit 1\n");
  from.user.token = "abc";
  authenticator auth = make(from);
  EXPECT_EQ(header(auth), "Bearer abc");
}

TEST_F(AuthTest, ReadsCertificatesAgainAsTheyChange) {
  config from{.server = "https://h"};
  from.ca_file = folder.write("ca.crt", first_identity.certificate);
  from.user.certificate_file = folder.write("me.crt", first_identity.certificate);
  from.user.key_file = folder.write("me.key", first_identity.key);
  authenticator auth = make(from);
  http::request what;
  const authorization before = authorize(auth, what);
  EXPECT_EQ(auth.tls().options.certificate_pem, first_identity.certificate);

  // Half of the rotation: not taken.
  folder.write("me.crt", second_identity.certificate);
  clock.advance(10s);
  EXPECT_EQ(authorize(auth, what).tls, before.tls);
  EXPECT_EQ(auth.tls().options.certificate_pem, first_identity.certificate);
  folder.write("me.key", second_identity.key);
  folder.write("ca.crt", second_identity.certificate);
  EXPECT_EQ(authorize(auth, what).tls, before.tls);
  clock.advance(10s);
  const authorization after = authorize(auth, what);
  EXPECT_NE(after.tls, before.tls);
  EXPECT_EQ(auth.tls().options.certificate_pem, second_identity.certificate);
  EXPECT_EQ(auth.tls().options.ca_pem, second_identity.certificate);

  fs::remove(folder / "ca.crt");
  clock.advance(10s);
  EXPECT_EQ(authorize(auth, what).tls, after.tls);
  // A 401 looks at once.
  folder.write("ca.crt", first_identity.certificate);
  EXPECT_TRUE(loop.run(auth.refresh_after_401(after)));
}

TEST_F(AuthTest, UnusableCertificatesAreAnErrorAtOnce) {
  const auto fails = [&](config from) -> std::string {
    from.server = "https://h";
    from.origin = "context 'c'";
    try {
      make(from);
    } catch (const error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(fails({.ca_pem = "words"}), HasSubstr("context 'c'"));
  EXPECT_THAT(fails({.ca_file = folder / "missing"}), HasSubstr("missing: there is no such file"));
  config mixed;
  mixed.user.certificate_pem = first_identity.certificate;
  EXPECT_THAT(fails(mixed), HasSubstr("no key"));
  mixed.user.key_pem = second_identity.key;
  EXPECT_THAT(fails(mixed), HasSubstr("context 'c'"));
}

TEST_F(AuthTest, WarnsWhenTheServerIsNotVerified) {
  std::vector<std::string> warnings;
  authenticator_options with = options();
  with.log = logger([&](const log_record& record) {
    if (record.level == log_level::warning) warnings.emplace_back(record.message);
  });
  authenticator auth = make({.server = "https://h", .insecure_skip_tls_verify = true}, with);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("not verified")));
  EXPECT_FALSE(auth.tls().options.verify);
}

}  // namespace
}  // namespace mizzen::kubernetes
