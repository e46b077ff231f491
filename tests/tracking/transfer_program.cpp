// The C++ side of the tests of transfers and imports:
//   transfer_program fill DB              one of everything into an embedded store; prints its ids
//   transfer_program transfer FROM TO [STEPS]   prints the report; with STEPS it is killed
//   (SIGKILL) after so many steps transfer_program import-files FOLDER TO     a file store of
//   MLflow; prints the report transfer_program import-events FOLDER TO EXPERIMENT   event files of
//   TensorBoard transfer_program show URI ID…         the runs of those ids, as JSON
#include <mizzen/core.hpp>
#include <mizzen/tracking.hpp>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace mz = mizzen;
using namespace mz::tracking;

namespace {

int fill(const std::string& db) {
  client c({.uri = db, .user = "robot"});
  c.create_experiment("offline", {.tags = {{"team", "mizzen"}}});
  auto parent = c.start_run("offline", {.name = "parent", .tags = {{"kind", "naïve — ünïcode"}}});
  for (int step = 0; step < 2500; ++step) {
    parent.log_metric("loss", 1.0 / (step + 1), {.step = step, .timestamp = 1000 + step});
  }
  parent.log_metric("odd/nan", std::numeric_limits<double>::quiet_NaN(), {.timestamp = 5});
  parent.log_metric("odd/inf", std::numeric_limits<double>::infinity(), {.timestamp = 6});
  string_map params;
  for (int i = 0; i < 150; ++i) params["p" + std::to_string(i)] = std::to_string(i);
  parent.log_params(params);
  parent.log_text("hello", "notes/hello wörld.txt");
  parent.log_text(std::string(300'000, 'x'), "big.bin");
  parent.log_input({.name = "set", .digest = "d1", .source = local_dataset_source("/x")},
                   {.context = "training"});
  auto child = parent.start_child({.name = "child"});
  child.log_metric("score", 0.5);
  child.fail();
  const std::byte bytes[] = {std::byte{1}, std::byte{2}};
  const logged_model net =
      parent.log_model(bytes, {.name = "net", .params = {{"depth", "3"}}, .tags = {{"t", "v"}}});
  parent.finish();
  c.create_registered_model("digits", {.description = "words", .tags = {{"task", "x"}}});
  c.register_model("digits", net, {.description = "first", .tags = {{"q", "1"}}});
  c.register_model("digits", net);
  c.register_model("digits", "runs:/" + parent.id() + "/notes");
  c.delete_model_version("digits", 2);
  c.set_model_alias("digits", "champion", 3);
  c.copy_model_version("digits", 3, "a copy");
  c.flush();
  std::cout << mz::json{{"parent", parent.id()},
                        {"child", child.id()},
                        {"model", net.id},
                        {"start", c.get_run(parent.id()).start_time},
                        {"end", c.get_run(parent.id()).end_time.value()}}
            << '\n';
  return 0;
}

int show_report(const transfer_report& report) {
  mz::json problems = mz::json::array();
  for (const transfer_problem& p : report.problems) problems.push_back({p.subject, p.message});
  mz::json left_out = mz::json::array();
  for (const transfer_problem& p : report.left_out) left_out.push_back({p.subject, p.message});
  std::cout << mz::json{{"experiments", report.experiments},
                        {"runs", report.runs},
                        {"unchanged", report.unchanged},
                        {"points", report.points},
                        {"files", report.files},
                        {"bytes", report.bytes},
                        {"models", report.models},
                        {"versions", report.versions},
                        {"problems", problems},
                        {"left_out", left_out}}
            << '\n';
  return 0;
}

int carry(const std::string& from, const std::string& to, int steps) {
  const client source(from);
  client target(to);
  transfer_options options;
  if (steps > 0) {
    options.progress = [&steps](const transfer_report&) {
      if (--steps == 0) std::raise(SIGKILL);
    };
  }
  return show_report(transfer(source, target, options));
}

int show(const std::string& uri, const std::vector<std::string>& ids) {
  const client c(uri);
  mz::json all = mz::json::object();
  for (const std::string& id : ids) {
    if (id.starts_with("m-")) {
      const logged_model model = c.get_logged_model(id);
      all[id] = {{"id", model.id}, {"name", model.name}, {"run_id", model.run_id}};
      continue;
    }
    const run_record run = c.get_run(id);
    mz::json& one = all[id];
    one = {{"id", run.id},
           {"name", run.name},
           {"status", to_string(run.status)},
           {"params", run.params},
           {"tags", run.tags},
           {"user", run.user},
           {"start", run.start_time},
           {"end", run.end_time.value_or(-1)},
           {"models", run.model_ids}};
    for (const auto& [key, latest] : run.metrics) {
      for (const metric& m : c.metric_history(id, key)) {
        one["points"][key].push_back({m.step, m.timestamp.value(),
                                      std::isnan(m.value) ? mz::json("NaN") : mz::json(m.value)});
      }
    }
    for (const dataset_input& i : run.inputs) {
      one["inputs"].push_back({i.dataset.name, i.dataset.digest, i.tags});
    }
    const auto list = [&](auto&& self, const std::string& folder) -> void {
      for (const artifact_info& a : c.list_artifacts(id, folder)) {
        if (a.is_directory) {
          self(self, a.path);
        } else {
          one["files"][a.path] = a.size;
        }
      }
    };
    list(list, "");
  }
  std::cout << all << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const std::string_view what = args.empty() ? std::string_view() : args[0];
  try {
    if (what == "fill" && args.size() == 2) return fill(args[1]);
    if (what == "transfer" && args.size() >= 3) {
      return carry(args[1], args[2], args.size() > 3 ? std::atoi(args[3].c_str()) : 0);
    }
    if (what == "import-files" && args.size() == 3) {
      client into(args[2]);
      return show_report(import_file_store(args[1], into));
    }
    if (what == "import-events" && args.size() == 4) {
      client into(args[2]);
      return show_report(import_tensorboard(args[1], into, {.experiment = args[3]}));
    }
    if (what == "show" && args.size() >= 2) return show(args[1], {args.begin() + 2, args.end()});
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  std::cerr << "transfer_program fill|transfer|show …\n";
  return 2;
}
