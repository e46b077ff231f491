// Submissions, explanations and rollouts against the real control plane.
#include "cluster/cluster.hpp"
#include "cluster/fault_proxy.hpp"
#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/builders.hpp>
#include <mizzen/kubernetes/rollout.hpp>
#include <mizzen/kubernetes/submission.hpp>

#include <gmock/gmock.h>

#include <algorithm>
#include <future>
#include <thread>

namespace mizzen::kubernetes {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class submission_test : public mizzen::test::cluster_test {
 protected:
  // Jobs of this test's namespace on the fake nodes; outcome as in cluster/stages.yaml.
  job job_of(const std::string& name, const std::string& outcome = {}) {
    auto made = job{name}.in_namespace(ns()).image("none").backoff_limit(0);
    if (!outcome.empty()) made.pod_annotation("mizzen.test/outcome", outcome);
    return made;
  }

  auto run(auto what) { return blocking().run(std::move(what)); }

  kubernetes::blocking& blocking() {
    if (!blocking_) blocking_.emplace(config::from_file(cluster().kubeconfig()));
    return *blocking_;
  }
  const client& k8s() { return blocking().client(); }

  submission submitted(const auto& builder, submit_options options = {}) {
    return run(submit(k8s(), builder, std::move(options)));
  }
  outcome wait(const submission& what) {
    return run(what.wait({.cancel = {.token = {}, .deadline = deadline::after(60s)}}));
  }

  // Explains until it is about what is expected: controllers and events take their time.
  explanation explained(const std::string& kind, const std::string& name, cause expected) {
    const auto until = deadline::after(60s);
    for (;;) {
      auto found = run(explain(k8s(), {.kind = kind, .name = name, .namespace_ = ns()}));
      for (const auto& one : found.findings) {
        if (one.cause == expected) return found;
      }
      if (until.expired()) {
        ADD_FAILURE() << "expected " << to_string(expected) << ", got:\n" << to_string(found);
        return found;
      }
      std::this_thread::sleep_for(100ms);
    }
  }
  std::string words(const std::string& kind, const std::string& name, cause expected) {
    return to_string(explained(kind, name, expected));
  }

 private:
  std::optional<kubernetes::blocking> blocking_;
};

errc code_of(const auto& what) {
  try {
    what();
  } catch (const error& failure) {
    return failure.code();
  }
  return errc::unknown;
}

TEST_F(submission_test, a_job_runs_to_its_end) {
  const auto train = submitted(job_of("train"));
  EXPECT_TRUE(train.created());
  EXPECT_EQ(train.kind(), "Job");
  std::vector<submission_status> seen;
  const auto end = run(train.wait({.on_change = [&](const auto& now) { seen.push_back(now); },
                                   .cancel = {.token = {}, .deadline = deadline::after(60s)}}));
  EXPECT_TRUE(end.succeeded()) << end.reason << end.message;
  EXPECT_EQ(end.succeeded_pods, 1);
  ASSERT_EQ(end.exits.size(), 1u);
  EXPECT_EQ(end.exits[0].exit_code, 0);
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(seen.back().ended);
  EXPECT_EQ(run(train.pods()), std::vector<std::string>{end.exits[0].pod});

  const auto again = submitted(job_of("train"));
  EXPECT_FALSE(again.created());
  EXPECT_EQ(again.uid(), train.uid());
  EXPECT_EQ(code_of([&] { submitted(job_of("train").completions(2)); }), errc::already_exists);
}

TEST_F(submission_test, a_failure_tells_its_exit_code) {
  const auto failing =
      submitted(job_of("fails", "fail").pod_annotation("mizzen.test/exit-code", "42"));
  const auto end = wait(failing);
  EXPECT_EQ(end.state, outcome_state::failed);
  EXPECT_EQ(end.reason, "BackoffLimitExceeded");
  ASSERT_EQ(end.exits.size(), 1u);
  EXPECT_EQ(end.exits[0].exit_code, 42);
  const auto why = run(failing.explain());
  EXPECT_EQ(why.verdict, verdict::failed);
  ASSERT_EQ(why.findings.size(), 2u) << to_string(why);
  EXPECT_EQ(why.findings[0].cause, cause::exit_code);
  EXPECT_EQ(why.findings[1].cause, cause::backoff_limit);
}

TEST_F(submission_test, an_indexed_job_tells_which_index_failed) {
  auto sweep = job_of("sweep", "fail").indexed(3).backoff_limit_per_index(0);
  sweep.object().spec.backoff_limit.reset();
  const auto end = wait(submitted(sweep));
  EXPECT_EQ(end.state, outcome_state::failed);
  EXPECT_EQ(expand_indexes(end.failed_indexes), (std::vector<std::int32_t>{0, 1, 2}));
  ASSERT_EQ(end.exits.size(), 3u);
  EXPECT_TRUE(end.exits[0].index);
}

TEST_F(submission_test, what_is_on_record_does_not_run_twice) {
  const test::scratch folder;
  const journal log(folder.path() / "submissions");
  const submit_options options{.journal = log};
  const auto first = submitted(job_of("once", "running"), options);
  EXPECT_TRUE(first.created());
  EXPECT_EQ(log.find(log.records().front().id)->phase, submission_phase::accepted);
  // It was held until it was on record, and runs now.
  const auto there = run(api<batch_v1::job>(k8s(), ns()).get("once"));
  EXPECT_FALSE(there.spec.suspend.value_or(false));
  EXPECT_FALSE(there.metadata.annotations.contains(held_annotation));

  const auto second = submitted(job_of("once", "running"), options);
  EXPECT_EQ(second.uid(), first.uid());
  EXPECT_EQ(code_of([&] { submitted(job_of("once", "running").completions(3), options); }),
            errc::already_exists);
  EXPECT_EQ(run(resume_submissions(k8s(), log)).size(), 1u);

  // Deleted behind its back, as a TTL does: it may have run, so it is not run again.
  run(first.cancel());
  EXPECT_EQ(wait(second).state, outcome_state::lost);
  const auto third = submitted(job_of("once", "running"), options);
  EXPECT_FALSE(third.created());
  EXPECT_EQ(wait(third).state, outcome_state::lost);
  EXPECT_FALSE(run(third.status()).exists);
  EXPECT_TRUE(run(resume_submissions(k8s(), log)).empty());
  EXPECT_FALSE(run(api<batch_v1::job>(k8s(), ns()).find("once")));
}

TEST_F(submission_test, a_finished_job_that_is_gone_is_told_from_the_journal) {
  const test::scratch folder;
  const submit_options options{.journal = journal(folder.path() / "submissions")};
  const auto first = submitted(job_of("short"), options);
  const auto end = wait(first);
  EXPECT_TRUE(end.succeeded());
  run(first.cancel());
  const auto again = submitted(job_of("short"), options);
  EXPECT_FALSE(again.created());
  EXPECT_EQ(wait(again), end);
}

TEST_F(submission_test, a_submitter_that_died_before_the_record_is_taken_over) {
  const test::scratch folder;
  journal log(folder.path() / "submissions");
  // As it is left behind: created and held, but not accepted.
  const auto first = submitted(job_of("left", "running"), {.journal = log});
  const auto record = log.records().front();
  log.forget(record.id);
  submission_record intended;
  intended.id = record.id;
  intended.kind = record.kind;
  intended.namespace_ = record.namespace_;
  intended.name = record.name;
  intended.spec_hash = record.spec_hash;
  log.intend(intended);
  json held = {{"spec", {{"suspend", true}}}};
  held["metadata"]["annotations"][std::string(held_annotation)] = "true";
  run(api<batch_v1::job>(k8s(), ns()).patch("left", patch::merge(held)));

  const auto resumed = run(resume_submissions(k8s(), log));
  ASSERT_EQ(resumed.size(), 1u);
  EXPECT_EQ(resumed[0].uid(), first.uid());
  EXPECT_EQ(log.find(record.id)->phase, submission_phase::accepted);
  EXPECT_FALSE(run(api<batch_v1::job>(k8s(), ns()).get("left")).spec.suspend.value_or(false));
}

TEST_F(submission_test, a_strangers_job_is_not_taken_for_ours) {
  run(api<batch_v1::job>(k8s(), ns()).create(job_of("taken").build()));
  EXPECT_EQ(code_of([&] { submitted(job_of("taken")); }), errc::already_exists);
}

TEST_F(submission_test, keys_make_names) {
  const auto a = submitted(job_of("k"), {.key = "a"});
  const auto b = submitted(job_of("k"), {.key = "b"});
  EXPECT_NE(a.name(), b.name());
  EXPECT_EQ(submitted(job_of("k"), {.key = "a"}).uid(), a.uid());
}

TEST_F(submission_test, pods_are_submitted_too) {
  const test::scratch folder;
  const submit_options options{.journal = journal(folder.path() / "submissions")};
  auto one = pod{"one"}.in_namespace(ns()).image("none").restart_policy("Never");
  one.annotation("mizzen.test/outcome", "complete");
  const auto made = submitted(one, options);
  EXPECT_TRUE(wait(made).succeeded());
  EXPECT_EQ(submitted(one, options).uid(), made.uid());
}

TEST_F(submission_test, it_is_suspended_resumed_and_cancelled) {
  const auto made = submitted(job_of("pause", "running"));
  run(made.cancel({.suspend = true}));
  EXPECT_TRUE(run(made.status()).suspended);
  EXPECT_THAT(words("Job", "pause", cause::suspended), HasSubstr("it is suspended"));
  run(made.resume());
  EXPECT_FALSE(run(made.status()).suspended);
  run(made.cancel());
  EXPECT_EQ(wait(made).state, outcome_state::lost);
  run(made.cancel());
}

TEST_F(submission_test, waiting_ends_with_its_deadline) {
  const auto made = submitted(job_of("long", "running"));
  EXPECT_EQ(code_of([&] {
              run(made.wait({.cancel = {.token = {}, .deadline = deadline::after(200ms)}}));
            }),
            errc::deadline_exceeded);
}

TEST_F(submission_test, a_cron_job_runs_when_it_is_told_to) {
  run(api<batch_v1::cron_job>(k8s(), ns())
          .create(cron_job{"nightly", "0 3 * * *"}.in_namespace(ns()).image("none").build()));
  const auto made = run(trigger(k8s(), "nightly", ns(), {.key = "today"}));
  EXPECT_TRUE(wait(made).succeeded());
  EXPECT_EQ(run(trigger(k8s(), "nightly", ns(), {.key = "today"})).uid(), made.uid());
}

TEST_F(submission_test, explains_what_the_scheduler_says) {
  submitted(job_of("big").gpus(100));
  auto found = explained("Job", "big", cause::resources);
  EXPECT_EQ(found.verdict, verdict::pending);
  EXPECT_THAT(found.findings.front().message,
              HasSubstr("needs 100 nvidia.com/gpu; the largest node (fake-gpu) has 64"));

  submitted(job_of("picky").node_selector("mizzen.test/pool", "batch"));
  EXPECT_THAT(words("Job", "picky", cause::untolerated_taint),
              HasSubstr("mizzen.test/dedicated=batch:NoSchedule"));
  submitted(job_of("nowhere").node_selector("no-such", "label"));
  EXPECT_THAT(words("Job", "nowhere", cause::node_selector),
              HasSubstr("no node has the label that the pod asks for: no-such=label"));
  submitted(job_of("claim").mount("/d", volumes::claim("absent")));
  EXPECT_THAT(words("Job", "claim", cause::missing_claim), HasSubstr("'absent'"));
  submitted(pod{"gated"}.in_namespace(ns()).image("none").scheduling_gate("example.com/wait"));
  EXPECT_THAT(words("Pod", "gated", cause::scheduling_gated), HasSubstr("example.com/wait"));
}

TEST_F(submission_test, explains_why_no_pod_is_made) {
  run(api<core_v1::resource_quota>(k8s(), ns())
          .create(resource_quota{"gpus"}.in_namespace(ns()).gpus(1).build()));
  cluster().kubectl({"wait", "--for=jsonpath={.status.hard.requests\\.nvidia\\.com/gpu}=1",
                     "--timeout=60s", "-n", ns(), "quota/gpus"});
  submitted(job_of("big").gpus(2));
  EXPECT_THAT(words("Job", "big", cause::quota_exceeded), HasSubstr("the quota 'gpus' allows"));
  submitted(job_of("account").service_account("absent"));
  EXPECT_THAT(words("Job", "account", cause::missing_service_account), HasSubstr("'absent'"));
  submitted(job_of("priority").priority_class("absent"));
  EXPECT_THAT(words("Job", "priority", cause::missing_priority_class), HasSubstr("'absent'"));
}

TEST_F(submission_test, explains_refusals_by_admission) {
  cluster().kubectl({"label", "namespace", ns(), "pod-security.kubernetes.io/enforce=restricted"});
  submitted(job_of("root"));
  EXPECT_THAT(words("Job", "root", cause::admission_denied), HasSubstr("restricted()"));
  EXPECT_TRUE(wait(submitted(job_of("plain").restricted())).succeeded());

  cluster().apply(
      "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, "
      "metadata: {name: " +
      ns() +
      "}, webhooks: [{name: dead.example.com, clientConfig: "
      "{url: 'https://127.0.0.1:1/'}, rules: [{apiGroups: [''], apiVersions: [v1], "
      "operations: [CREATE], resources: [pods]}], namespaceSelector: {matchLabels: "
      "{kubernetes.io/metadata.name: " +
      ns() +
      "}}, sideEffects: None, "
      "admissionReviewVersions: [v1], timeoutSeconds: 2}]}");
  submitted(job_of("unreached").restricted());
  EXPECT_THAT(words("Job", "unreached", cause::webhook_unavailable), HasSubstr("dead.example.com"));
  cluster().kubectl({"delete", "validatingwebhookconfiguration", ns()});
}

TEST_F(submission_test, explains_what_containers_die_of) {
  submitted(job_of("oom", "oom").memory("1Gi"));
  EXPECT_THAT(words("Job", "oom", cause::out_of_memory), HasSubstr("memory limit of 1Gi"));
  submitted(job_of("pull", "image-pull"));
  EXPECT_THAT(words("Job", "pull", cause::image_pull),
              HasSubstr("the image 'none' cannot be pulled"));
  submitted(job_of("slow", "running").active_deadline(1s));
  EXPECT_THAT(words("Job", "slow", cause::deadline_exceeded),
              HasSubstr("activeDeadlineSeconds, 1"));
  submitted(job_of("secret", "waiting")
                .pod_annotation("mizzen.test/reason", "CreateContainerConfigError")
                .pod_annotation("mizzen.test/message", "secret \"hub\" not found"));
  EXPECT_THAT(words("Job", "secret", cause::missing_secret), HasSubstr("'hub'"));
}

TEST_F(submission_test, a_viewer_is_told_what_is_hidden) {
  submitted(job_of("big").gpus(100));
  explained("Job", "big", cause::resources);
  kubernetes::blocking viewer(
      config::from_file(cluster().kubeconfig(mizzen::test::cluster::user::viewer)));
  const auto found = viewer.run(explain(viewer.client(), {.name = "big", .namespace_ = ns()}));
  ASSERT_FALSE(found.findings.empty());
  EXPECT_EQ(found.findings.front().cause, cause::resources);
  EXPECT_THAT(to_string(found), HasSubstr("not looked at: nodes"));
}

TEST_F(submission_test, a_deployment_rolls_forth_and_back) {
  api<apps_v1::deployment> deployments(k8s(), ns());
  auto web = deployment{"web"}.in_namespace(ns()).image("web:1").replicas(2);
  run(deployments.apply(web.build()));
  const rollout rolling(k8s(), "web", ns());
  const rollout_wait_options patient{.cancel = {.token = {}, .deadline = deadline::after(60s)}};
  EXPECT_EQ(run(rolling.wait(patient)).state, rollout_state::complete);
  run(deployments.apply(web.image("web:2").build()));
  EXPECT_EQ(run(rolling.wait(patient)).state, rollout_state::complete);
  auto history = run(rolling.history());
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[1].images, std::vector<std::string>{"web:2"});

  EXPECT_EQ(run(rolling.undo()), 1);
  EXPECT_EQ(run(rolling.wait(patient)).state, rollout_state::complete);
  EXPECT_EQ(run(deployments.get("web")).spec.template_.spec.containers[0].image, "web:1");
  EXPECT_EQ(code_of([&] { run(rolling.undo(99)); }), errc::not_found);
  run(rolling.restart());
  EXPECT_EQ(run(rolling.wait(patient)).state, rollout_state::complete);
  EXPECT_EQ(run(rolling.history()).size(), 3u);
  run(rolling.scale(3));
  EXPECT_EQ(run(rolling.wait(patient)).available, 3);
  run(rolling.pause());
  EXPECT_EQ(code_of([&] { run(rolling.undo()); }), errc::failed_precondition);
  run(rolling.resume());
}

TEST_F(submission_test, undoing_a_rollout_leaves_somebody_elses_change_alone) {
  api<apps_v1::deployment> deployments(k8s(), ns());
  auto web = deployment{"web"}.in_namespace(ns()).image("web:1");
  run(deployments.apply(web.build()));
  const rollout_wait_options patient{.cancel = {.token = {}, .deadline = deadline::after(60s)}};
  EXPECT_EQ(run(rollout(k8s(), "web", ns()).wait(patient)).state, rollout_state::complete);
  run(deployments.apply(web.image("web:2").build()));
  EXPECT_EQ(run(rollout(k8s(), "web", ns()).wait(patient)).state, rollout_state::complete);

  // It has read what it needs, and its change is held up.
  mizzen::test::fault_proxy proxy(cluster());
  proxy.add({.method = "PATCH", .target = "/deployments/web", .delay = 2s});
  auto undone = std::async(std::launch::async, [&] {
    kubernetes::blocking slow(config::from_file(proxy.kubeconfig()));
    return code_of([&] { slow.run(rollout(slow.client(), "web", ns()).undo()); });
  });
  const auto writes = [&] {
    const auto seen = proxy.look();
    return std::any_of(seen.requests.begin(), seen.requests.end(),
                       [](const auto& each) { return each.method == "PATCH"; });
  };
  const auto until = deadline::after(60s);
  while (!writes() && !until.expired()) std::this_thread::sleep_for(10ms);
  proxy.freeze();
  run(deployments.apply(web.image("web:3").build()));
  proxy.freeze(false);
  EXPECT_EQ(undone.get(), errc::aborted);
  EXPECT_EQ(run(deployments.get("web")).spec.template_.spec.containers[0].image, "web:3");
}

TEST_F(submission_test, a_rollout_that_stands_still_fails_with_its_reason) {
  auto web = deployment{"web"}.in_namespace(ns()).image("web:1").progress_deadline(1);
  web.pod_annotation("mizzen.test/outcome", "image-pull");
  run(api<apps_v1::deployment>(k8s(), ns()).create(web.build()));
  const rollout rolling(k8s(), "web", ns());
  const auto end = run(rolling.wait({.cancel = {.token = {}, .deadline = deadline::after(60s)}}));
  EXPECT_EQ(end.state, rollout_state::failed);
  EXPECT_EQ(end.reason, "ProgressDeadlineExceeded");
  // A late word about the pod sets the controller's clock back: its verdict may come and go once.
  explained("Deployment", "web", cause::image_pull);
  const auto found = explained("Deployment", "web", cause::deadline_exceeded);
  EXPECT_EQ(found.verdict, verdict::failed);
  EXPECT_EQ(found.findings.back().cause, cause::deadline_exceeded);
  EXPECT_EQ(found.findings.front().cause, cause::image_pull);
}

}  // namespace
}  // namespace mizzen::kubernetes
