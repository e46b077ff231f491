// Logs, exec, attach, port-forward and cp on real containers.
#include "cluster/cluster.hpp"
#include "cluster/fault_proxy.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/attach.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/cp.hpp>
#include <mizzen/kubernetes/exec.hpp>
#include <mizzen/kubernetes/logs.hpp>
#include <mizzen/kubernetes/port_forward.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>
#include <unistd.h>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::uint16_t echo_port = 7077;

class streams_test : public mizzen::test::node_test {
 protected:
  void SetUp() override {
    node_test::SetUp();
    if (IsSkipped()) return;
    const std::string image =
        std::string("image: '") + mizzen::test::real_node_image + "', imagePullPolicy: Never";
    cluster().apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {nodeName: localhost, "
        "terminationGracePeriodSeconds: 0, containers: [{name: main, stdin: true, " +
            image +
            ", command: [sh, -c, 'echo one; echo two; echo three; cat; "
            "sleep 3600']}, {name: side, " +
            image + ", command: [sh, -c, 'echo from the side; while true; do nc -l -p " +
            std::to_string(echo_port) + " -e cat; done']}]}}",
        ns());
    cluster().kubectl({"wait", "--for=condition=Ready", "--timeout=120s", "-n", ns(), "pod/web"});
    k8s.emplace(config::from_file(cluster().kubeconfig()));
  }

  command_result run(std::vector<std::string> command, std::string input = {}) {
    return k8s->run(run_command(k8s->client(), ns(), "web",
                                {.command = std::move(command), .container = "main"},
                                std::move(input)));
  }
  command_result shell(const std::string& script, std::string input = {}) {
    return run({"sh", "-c", script}, std::move(input));
  }

  std::optional<blocking> k8s;
};

TEST_F(streams_test, logs_whole_by_line_and_of_all_containers) {
  const auto text = [&](log_options options) {
    return k8s->run(read_logs(k8s->client(), ns(), "web", std::move(options)));
  };
  EXPECT_EQ(text({.container = "main"}), "one\ntwo\nthree\n");
  EXPECT_EQ(text({.container = "main", .tail_lines = 1}), "three\n");
  EXPECT_EQ(text({.container = "main", .limit_bytes = 5}), "one\nt");
  EXPECT_EQ(text({.container = "main", .since = std::chrono::hours(1)}), "one\ntwo\nthree\n");
  EXPECT_EQ(text({.container = "main",
                  .since_time = std::chrono::system_clock::now() + std::chrono::hours(1)}),
            "");
  EXPECT_THAT(text({.container = "main", .timestamps = true, .tail_lines = 1}),
              testing::MatchesRegex("20.*T.*Z three\n"));
  EXPECT_THROW(text({.container = "none"}), status_error);
  EXPECT_THROW(text({.container = "main", .previous = true}), status_error);

  std::map<std::string, std::vector<std::string>> lines;
  merged_logs all = k8s->run(open_merged_logs(k8s->client(), ns(), "web"));
  while (const auto line = k8s->run(all.read_line())) lines[line->container].push_back(line->text);
  EXPECT_EQ(lines["main"], (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(lines["side"], (std::vector<std::string>{"from the side"}));
}

TEST_F(streams_test, logs_that_are_followed_and_what_attach_sends) {
  log_stream log =
      k8s->run(open_logs(k8s->client(), ns(), "web", {.container = "main", .follow = true}));
  for (const char* expected : {"one", "two", "three"}) {
    EXPECT_EQ(k8s->run(log.read_line()), expected);
  }
  remote_process main =
      k8s->run(attach(k8s->client(), ns(), "web", {.container = "main", .stdin_ = true}));
  EXPECT_EQ(main.protocol(), "v5.channel.k8s.io");
  k8s->run(main.write("hello through attach\n"));
  EXPECT_EQ(k8s->run(log.read_line()), "hello through attach");
  const auto output = k8s->run(main.read());
  ASSERT_TRUE(output);
  EXPECT_EQ(output->data, "hello through attach\n");
  log.close();
  EXPECT_THROW(k8s->run(log.read_line()), error);
}

TEST_F(streams_test, exec_output_and_exit_codes) {
  const command_result good = shell("echo out; echo err >&2");
  EXPECT_EQ(good.exit.code, 0);
  EXPECT_EQ(good.out, "out\n");
  EXPECT_EQ(good.err, "err\n");
  const command_result bad = shell("exit 42");
  EXPECT_EQ(bad.exit.code, 42);
  EXPECT_THAT(bad.exit.message, HasSubstr("42"));
  EXPECT_EQ(run({"printf", "%s|", "a b", "*", "$HOME"}).out, "a b|*|$HOME|");
  EXPECT_THROW(run({"no-such-program"}), error);
  EXPECT_THROW(k8s->run(run_command(k8s->client(), ns(), "none", {.command = {"true"}})),
               status_error);
}

TEST_F(streams_test, exec_input_of_any_size_and_its_end) {
  EXPECT_EQ(shell("cat", "hello").out, "hello");
  std::string large;
  for (int i = 0; large.size() < (std::size_t{3} << 20); ++i) large += std::to_string(i) + "\n";
  EXPECT_EQ(shell("cat", large).out, large);
  const std::string count = shell("wc -c", large).out;
  EXPECT_EQ(std::stoul(count), large.size());
  // A program that does not read what it is given. Not more than a pipe holds: containerd 1.6 does
  // not end a session then whose input it cannot hand on (kubectl exec -i hangs on it as well).
  EXPECT_EQ(shell("exit 3", "a line for nobody\n").exit.code, 3);
}

TEST_F(streams_test, exec_with_a_terminal) {
  remote_process process =
      k8s->run(exec(k8s->client(), ns(), "web",
                    {.command = {"sh"}, .container = "main", .stdin_ = true, .tty = true}));
  k8s->run(process.resize(123, 45));
  k8s->run(process.write("while [ \"$(stty size)\" != '45 123' ]; do sleep 1; done; exit 7\n"));
  std::string screen;
  while (const auto piece = k8s->run(process.read())) screen += piece->data;
  EXPECT_EQ(process.exit().code, 7) << screen;
  EXPECT_THAT(screen, HasSubstr("stty size"));
}

// Between the client and the real servers, v5 is taken out of what the client offers.
TEST_F(streams_test, exec_and_attach_with_servers_that_know_v4_only) {
  mizzen::test::fault_proxy proxy(cluster());
  proxy.add({.target = "/(exec|attach)[?]", .times = -1, .without_protocol = "v5.channel.k8s.io"});
  blocking old(config::from_file(proxy.kubeconfig()));
  remote_process process =
      old.run(exec(old.client(), ns(), "web",
                   {.command = {"sh", "-c", "read line; echo got $line; echo and this >&2; exit 5"},
                    .container = "main",
                    .stdin_ = true}));
  EXPECT_EQ(process.protocol(), "v4.channel.k8s.io");
  EXPECT_THROW(old.run(process.close_stdin()), error);
  old.run(process.write("hello\n"));
  std::string out;
  std::string err;
  while (const auto piece = old.run(process.read())) {
    (piece->from == output_stream::stdout_ ? out : err) += piece->data;
  }
  EXPECT_EQ(out, "got hello\n");
  EXPECT_EQ(err, "and this\n");
  EXPECT_EQ(process.exit().code, 5);

  const command_result good = old.run(
      run_command(old.client(), ns(), "web", {.command = {"echo", "good"}, .container = "main"}));
  EXPECT_EQ(good.exit.code, 0);
  EXPECT_EQ(good.out, "good\n");
  try {
    old.run(run_command(old.client(), ns(), "web", {.command = {"cat"}, .container = "main"},
                        "its end cannot be told"));
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::unimplemented);
  }
  EXPECT_THROW(old.run(run_command(old.client(), ns(), "web",
                                   {.command = {"no-such-program"}, .container = "main"})),
               error);

  remote_process screen =
      old.run(exec(old.client(), ns(), "web",
                   {.command = {"sh"}, .container = "main", .stdin_ = true, .tty = true}));
  old.run(screen.resize(91, 37));
  old.run(screen.write("while [ \"$(stty size)\" != '37 91' ]; do sleep 1; done; exit 7\n"));
  while (old.run(screen.read())) continue;
  EXPECT_EQ(screen.exit().code, 7);

  remote_process main =
      old.run(attach(old.client(), ns(), "web", {.container = "main", .stdin_ = true}));
  EXPECT_EQ(main.protocol(), "v4.channel.k8s.io");
  old.run(main.write("through attach\n"));
  const auto output = old.run(main.read());
  ASSERT_TRUE(output);
  EXPECT_EQ(output->data, "through attach\n");
}

TEST_F(streams_test, exec_that_is_cancelled) {
  std::stop_source source;
  exec_options options{.command = {"sleep", "3600"}, .container = "main"};
  options.cancel.token = source.get_token();
  remote_process process = k8s->run(exec(k8s->client(), ns(), "web", options));
  std::jthread later([&] { source.request_stop(); });
  try {
    k8s->run(process.read());
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::cancelled);
  }
}

TEST_F(streams_test, port_forward_directly) {
  pod_connection connection = k8s->run(connect_to_pod(k8s->client(), ns(), "web", echo_port));
  std::string text;
  for (int i = 0; text.size() < 200'000; ++i) text += std::to_string(i) + ",";
  k8s->run(connection.write(text));
  std::string back;
  while (back.size() < text.size()) {
    const std::string_view piece = k8s->run(connection.read());
    if (piece.empty()) break;
    back += piece;
  }
  EXPECT_EQ(back, text);
  connection.close();
  pod_connection nobody = k8s->run(connect_to_pod(k8s->client(), ns(), "web", 1));
  try {
    k8s->run(nobody.read());
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::unavailable);
    EXPECT_THAT(e.what(), HasSubstr("port 1 of " + ns() + "/web"));
  }
}

TEST_F(streams_test, port_forward_with_a_listener) {
  asio::io_context loop;
  const auto work = asio::make_work_guard(loop);
  const std::jthread thread([&] { loop.run(); });
  const std::shared_ptr<void> stop_at_the_end(nullptr, [&](void*) { loop.stop(); });
  {
    const client of_loop(loop.get_executor(), config::from_file(cluster().kubeconfig()));
    port_forwarder forwarder(of_loop, ns(), "web", echo_port);
    // The container's program listens anew for each connection, so it may take some tries.
    int echoed = 0;
    for (int tries = 0; echoed < 2 && tries < 100; ++tries) {
      asio::io_context own;
      asio::ip::tcp::socket socket(own);
      socket.connect({asio::ip::address_v4::loopback(), forwarder.local_port()});
      boost::system::error_code ec;
      asio::write(socket, asio::buffer("hello", 5), ec);
      std::string back(5, ' ');
      if (!ec) asio::read(socket, asio::buffer(back), ec);
      if (!ec) {
        EXPECT_EQ(back, "hello");
        ++echoed;
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
    }
    EXPECT_EQ(echoed, 2);
  }
}

class cp_test : public streams_test {
 protected:
  void SetUp() override {
    streams_test::SetUp();
    if (IsSkipped()) return;
    char name[] = "/tmp/mizzen-cp-XXXXXX";
    folder = ::mkdtemp(name);
  }
  void TearDown() override {
    if (!folder.empty()) fs::remove_all(folder);
    streams_test::TearDown();
  }
  static std::string read(const fs::path& from) {
    std::ifstream in(from, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void write(const fs::path& to, const std::string& text) {
    std::ofstream(to, std::ios::binary) << text;
  }

  fs::path folder;
};

TEST_F(cp_test, there_and_back) {
  const std::string long_name(120, 'n');
  std::string large(std::size_t{2} << 20, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 131 >> 7);
  const fs::path from = folder / "tree";
  fs::create_directories(from / "sub" / "empty");
  write(from / "large", large);
  write(from / "sub" / long_name, "long");
  write(from / "nothing", "");
  fs::create_symlink("../large", from / "sub" / "link");
  fs::permissions(from / "nothing", fs::perms(0640));
  fs::last_write_time(from / "nothing", fs::last_write_time(from) - std::chrono::hours(1000));

  const copy_options options{.container = "main"};
  const copy_result there =
      k8s->run(copy_to_pod(k8s->client(), ns(), "web", from, "/tmp/copy of tree", options));
  EXPECT_EQ(there.files, 3U);
  EXPECT_EQ(there.directories, 3U);
  EXPECT_EQ(there.links, 1U);
  EXPECT_EQ(there.bytes, large.size() + 4);
  EXPECT_EQ(shell("cd '/tmp/copy of tree' && cat sub/n* && readlink sub/link && stat -c %a nothing "
                  "&& wc -c < large")
                .out,
            "long../large\n640\n" + std::to_string(large.size()) + "\n");

  const copy_result back = k8s->run(
      copy_from_pod(k8s->client(), ns(), "web", "/tmp/copy of tree", folder / "back", options));
  EXPECT_EQ(back.bytes, there.bytes);
  EXPECT_EQ(read(folder / "back" / "large"), large);
  EXPECT_EQ(read(folder / "back" / "sub" / long_name), "long");
  EXPECT_EQ(fs::read_symlink(folder / "back" / "sub" / "link"), "../large");
  EXPECT_TRUE(fs::is_directory(folder / "back" / "sub" / "empty"));
  EXPECT_EQ(fs::status(folder / "back" / "nothing").permissions(), fs::perms(0640));
  const auto difference =
      fs::last_write_time(folder / "back" / "nothing") - fs::last_write_time(from / "nothing");
  EXPECT_LT(std::chrono::abs(difference), std::chrono::seconds(2));

  // One file, under another name.
  k8s->run(copy_to_pod(k8s->client(), ns(), "web", from / "large", "/tmp/renamed", options));
  k8s->run(copy_from_pod(k8s->client(), ns(), "web", "/tmp/renamed", folder / "one", options));
  EXPECT_EQ(read(folder / "one"), large);
}

TEST_F(cp_test, what_cannot_be_copied) {
  const copy_options options{.container = "main"};
  EXPECT_THROW(
      k8s->run(copy_from_pod(k8s->client(), ns(), "web", "/no/such", folder / "x", options)),
      error);
  EXPECT_THROW(
      k8s->run(copy_to_pod(k8s->client(), ns(), "web", folder / "none", "/tmp/x", options)), error);
  write(folder / "file", "text");
  EXPECT_THROW(
      k8s->run(copy_to_pod(k8s->client(), ns(), "web", folder / "file", "/no/such/x", options)),
      error);
}

}  // namespace
}  // namespace mizzen::kubernetes
