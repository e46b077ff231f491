// Submissions whose containers really run: what they print, how they end, and why they do not.
#include "cluster/cluster.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/builders.hpp>
#include <mizzen/kubernetes/submission.hpp>

#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::kubernetes {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using lines_by_pod = std::map<std::string, std::vector<std::string>>;

class submission_node_test : public mizzen::test::node_test {
 protected:
  void SetUp() override {
    node_test::SetUp();
    if (!IsSkipped()) k8s.emplace(config::from_file(cluster().kubeconfig()));
  }

  template <class Builder>
  Builder on_node(Builder made) {
    made.in_namespace(ns())
        .image(mizzen::test::real_node_image)
        .image_pull_policy("Never")
        .tolerate("mizzen.test/real")
        .termination_grace_period(0);
    made.pod_spec().node_name = "localhost";
    return made;
  }
  job script_job(const std::string& name, const std::string& script) {
    return on_node(job{name}).command({"sh", "-c", script}).backoff_limit(0);
  }

  submission submitted(const auto& builder) { return k8s->run(submit(k8s->client(), builder)); }

  static cancellation in_time() { return {.token = {}, .deadline = deadline::after(120s)}; }

  outcome wait(const submission& what) { return k8s->run(what.wait({.cancel = in_time()})); }

  static log_options following() {
    log_options options;
    options.follow = true;
    options.cancel = in_time();
    return options;
  }

  lines_by_pod read(submission_logs logs) {
    lines_by_pod lines;
    while (const auto line = k8s->run(logs.read_line())) lines[line->pod].push_back(line->text);
    return lines;
  }

  // Explains until it is about what is expected: the kubelet takes its time.
  finding explained(const submission& what, cause expected) {
    const auto until = deadline::after(120s);
    for (;;) {
      const explanation found = k8s->run(what.explain());
      for (const auto& one : found.findings) {
        if (one.cause == expected) return one;
      }
      if (until.expired()) {
        ADD_FAILURE() << "expected " << to_string(expected) << ", got:\n" << to_string(found);
        return {};
      }
      std::this_thread::sleep_for(200ms);
    }
  }

  std::optional<blocking> k8s;
};

TEST_F(submission_node_test, a_job_succeeds_and_its_log_is_read) {
  const auto work = submitted(script_job("works", "for i in 1 2 3; do echo line $i; done"));
  submission_logs logs = work.logs(following());
  std::vector<std::string> texts;
  std::string pod;
  while (const auto line = k8s->run(logs.read_line())) {
    EXPECT_EQ(line->container, "main");
    pod = line->pod;
    texts.push_back(line->text);
  }
  EXPECT_THAT(texts, ElementsAre("line 1", "line 2", "line 3"));
  const outcome end = wait(work);
  EXPECT_TRUE(end.succeeded()) << end.reason << end.message;
  ASSERT_EQ(end.exits.size(), 1u);
  EXPECT_EQ(end.exits[0].pod, pod);
  EXPECT_EQ(end.exits[0].node, "localhost");

  // Once more, of what has ended: with and without following.
  EXPECT_EQ(read(work.logs()), (lines_by_pod{{pod, texts}}));
  EXPECT_EQ(read(work.logs(following())), (lines_by_pod{{pod, texts}}));
  EXPECT_EQ(read(work.logs({.tail_lines = 1})), (lines_by_pod{{pod, {"line 3"}}}));
}

TEST_F(submission_node_test, logs_follow_pods_that_start_later) {
  // Two pods, one after the other, each of two containers.
  const auto work = submitted(script_job("waves", "echo one; sleep 1; echo two")
                                  .also(container{"side"}
                                            .image(mizzen::test::real_node_image)
                                            .image_pull_policy("Never")
                                            .command({"echo", "aside"}))
                                  .completions(2)
                                  .parallelism(1));
  submission_logs logs = work.logs(following());
  lines_by_pod main;
  lines_by_pod side;
  while (const auto line = k8s->run(logs.read_line())) {
    (line->container == "side" ? side : main)[line->pod].push_back(line->text);
  }
  EXPECT_TRUE(wait(work).succeeded());
  lines_by_pod expected_main;
  lines_by_pod expected_side;
  const std::vector<std::string> pods = k8s->run(work.pods());
  EXPECT_EQ(pods.size(), 2u);
  for (const auto& pod : pods) {
    expected_main[pod] = {"one", "two"};
    expected_side[pod] = {"aside"};
  }
  EXPECT_EQ(main, expected_main);
  EXPECT_EQ(side, expected_side);
  EXPECT_EQ(read(work.logs({.container = "side"})), expected_side);
}

TEST_F(submission_node_test, logs_of_one_pod_that_restarts_its_container) {
  // The second instance finds what the first has left.
  const auto work = submitted(
      on_node(pod{"again"})
          .command({"sh", "-c",
                    "if [ -e /scratch/ran ]; then echo second; else touch /scratch/ran; echo "
                    "first; exit 1; fi"})
          .mount("/scratch", volumes::empty_dir("scratch"))
          .restart_policy("OnFailure"));
  EXPECT_EQ(read(work.logs(following())), (lines_by_pod{{"again", {"first", "second"}}}));
  EXPECT_TRUE(wait(work).succeeded());
}

TEST_F(submission_node_test, logs_that_print_more_than_is_read_and_are_closed) {
  const auto work = submitted(script_job("talks", "seq 1 20000; sleep 3600"));
  submission_logs logs = work.logs(following());
  for (int i = 1; i <= 20000; ++i) {
    const auto line = k8s->run(logs.read_line());
    ASSERT_TRUE(line);
    ASSERT_EQ(line->text, std::to_string(i));
  }
  logs.close();
  try {
    k8s->run(logs.read_line());
    FAIL() << "it goes on";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::cancelled);
  }
  // Dropped while the container waits for its reader.
  {
    const submission_logs dropped = work.logs(following());
  }
  try {
    read(work.logs({.container = "none"}));
    FAIL() << "there is no such container";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::not_found);
  }
  EXPECT_THROW(work.logs({.previous = true}), error);
  k8s->run(work.cancel());
}

TEST_F(submission_node_test, an_exit_code_is_told) {
  const auto work = submitted(script_job("fails", "echo so long; exit 3"));
  const outcome end = wait(work);
  EXPECT_EQ(end.state, outcome_state::failed);
  EXPECT_EQ(end.reason, "BackoffLimitExceeded");
  ASSERT_EQ(end.exits.size(), 1u);
  EXPECT_EQ(end.exits[0].exit_code, 3);
  EXPECT_EQ(end.exits[0].reason, "Error");
  EXPECT_THAT(explained(work, cause::exit_code).message, HasSubstr("exit code 3"));
  EXPECT_THAT(to_string(k8s->run(work.explain())), HasSubstr("exit code 3"));
  EXPECT_EQ(read(work.logs(following())), (lines_by_pod{{end.exits[0].pod, {"so long"}}}));
}

TEST_F(submission_node_test, an_image_that_is_not_there) {
  for (const std::string policy : {"IfNotPresent", "Never"}) {
    const std::string image = "localhost:1/mizzen.test/absent:1";
    auto wish = script_job("no-image-" + std::string(policy == "Never" ? "never" : "pull"), "true");
    const auto work = submitted(wish.image(image).image_pull_policy(policy));
    const finding found = explained(work, cause::image_pull);
    EXPECT_THAT(found.message, HasSubstr(image)) << policy;
    EXPECT_EQ(k8s->run(work.explain()).verdict, verdict::pending);
    k8s->run(work.cancel());
    // Nothing was printed, and a submission that was ended ends its logs.
    EXPECT_EQ(read(work.logs(following())), lines_by_pod{});
    EXPECT_EQ(wait(work).state, outcome_state::lost);
  }
}

TEST_F(submission_node_test, a_config_map_that_is_not_there) {
  const auto work =
      submitted(script_job("no-settings", "true").env_from_config_map("RATE", "settings", "rate"));
  EXPECT_THAT(explained(work, cause::missing_config_map).message, HasSubstr("settings"));
  // It goes on by itself when that is mended.
  cluster().kubectl({"create", "configmap", "settings", "-n", ns(), "--from-literal=rate=0.1"});
  EXPECT_TRUE(wait(work).succeeded());
}

}  // namespace
}  // namespace mizzen::kubernetes
