// The C++ side of extras_test.py:
//   extras_program figures DATA.json FOLDER   draws every figure; prints areas and counts, as JSON
//   extras_program documents DB               logs dictionaries, tables and figures; prints the run
//   extras_program more DB RUN                adds to the tables of that run
//   extras_program facts DB ...               starts a run; any arguments may follow
//   extras_program lineage DB EVENTS MLMD     exports what it writes first
//   extras_program system DB                  logs system metrics until standard input ends
#include <mizzen/core.hpp>
#include <mizzen/tracking.hpp>

#include <cmath>
#include <fstream>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace mz = mizzen;
using namespace mz::tracking;

namespace {

void save(const figure& drawn, const std::string& path) {
  std::ofstream(path + ".svg", std::ios::binary) << drawn.to_svg();
  const auto png = drawn.to_png();
  std::ofstream(path + ".png", std::ios::binary)
      .write(reinterpret_cast<const char*>(png.data()), static_cast<std::streamsize>(png.size()));
}

int draw_figures(const std::string& data_file, const std::string& folder) {
  std::ifstream in(data_file);
  const mz::json data = mz::json::parse(in);
  const auto actual = data["actual"].get<std::vector<std::size_t>>();
  const auto scores = data["scores"].get<std::vector<double>>();
  const auto labels = data["labels"].get<std::vector<std::string>>();
  const auto binary = data["binary"].get<std::vector<std::size_t>>();
  const auto binary_scores = data["binary_scores"].get<std::vector<double>>();
  const auto values = data["values"].get<std::vector<double>>();
  mz::json out;

  const roc_curve roc = make_roc_curve(binary, binary_scores, "model");
  const auto precision = make_precision_recall_curve(binary, binary_scores, "model");
  out["auc"] = roc.area;
  out["average_precision"] = precision.average_precision;
  out["false_positive_rate"] = roc.false_positive_rate;
  out["true_positive_rate"] = roc.true_positive_rate;
  out["precision"] = precision.precision;
  out["recall"] = precision.recall;
  save(draw(roc), folder + "/roc_one");
  save(draw(precision), folder + "/precision_recall_one");

  const auto rocs = one_vs_rest_roc(actual, scores, labels);
  const auto precisions = one_vs_rest_precision_recall(actual, scores, labels);
  for (const auto& curve : rocs) out["aucs"].push_back(curve.area);
  for (const auto& curve : precisions) {
    out["average_precisions"].push_back(curve.average_precision);
  }
  save(draw(rocs, {.title = "ROC, \"<wine>\" & more"}), folder + "/roc");
  save(draw(precisions), folder + "/precision_recall");

  confusion_matrix matrix(labels);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    std::size_t best = 0;
    for (std::size_t c = 1; c < labels.size(); ++c) {
      if (scores[i * labels.size() + c] > scores[i * labels.size() + best]) best = c;
    }
    matrix.add(actual[i], best);
  }
  save(draw(matrix, {.title = "wine"}), folder + "/confusion");

  const histogram bins = make_histogram(values, {.bins = 23});
  out["histogram"] = {{"edges", bins.edges}, {"counts", bins.counts}};
  save(draw(bins, {.title = "values", .x = {.label = "x"}}), folder + "/histogram");

  std::vector<double> steps, loss, validation;
  for (int i = 0; i < 5000; ++i) {
    steps.push_back(i);
    loss.push_back(2.5 * std::exp(-i / 900.0) + 0.01 * (i % 7));
    validation.push_back(i < 20 ? -1 : 2.6 * std::exp(-i / 1100.0) + 0.05);
  }
  save(draw_lines({{.name = "training", .x = steps, .y = loss},
                   {.name = "validation — naïve", .x = steps, .y = validation, .dashed = true},
                   {.name = "checkpoints",
                    .x = {0, 1000, 2000, 3000, 4000},
                    .y = {2.2, 0.9, 0.4, 0.2, 0.1},
                    .markers = true}},
                  {.title = "loss",
                   .x = {.label = "step"},
                   .y = {.label = "loss", .scale = axis_scale::log}}),
       folder + "/loss");
  std::cout << out.dump() << '\n';
  return 0;
}

int log_documents(const std::string& db) {
  client c({.uri = db});
  auto run = c.start_run("documents");
  const mz::json value = {
      {"plain", "a text"},
      {"quoted",
       {"yes", "No", "1.0", "1e3", "", " x", "a: b", "#", "~", "2024-01-01", "0x1f", "null",
        "line\nbreak", "naïve 😀\x7f", "- a", "on", "=", "<<"}},
      {"numbers", {0, -7, 1e-5, 1.5, 1e300, 18446744073709551615U, 3.0}},
      {"nested", {{"list", {{{"a", 1}, {"b", {2, 3}}}, {{4}, {}}}}, {"none", nullptr}}},
      {"empty", {{"list", mz::json::array()}, {"object", mz::json::object()}}},
      {"yes", true},
      {"a: key", false}};
  run.log_dict(value, "config/a.yaml");
  run.log_dict(value, "config/a.json");
  run.log_dict(mz::json::array(), "config/empty.yml");
  run.log_dict("true", "config/text.yml");
  run.log_table({{"input", {"What is it?", "näive"}}, {"score", {0.5, 1}}}, "tables/eval.json");
  run.log_table({{"score", {nullptr}}, {"input", {"third"}}, {"passed", {true}}},
                "tables/eval.json");
  run.log_figure(draw_lines({{.name = "a", .y = {1, 3, 2}}}), "plots/line.svg");
  run.log_figure(draw_lines({{.name = "a", .y = {1, 3, 2}}}), "plots/line.png");
  run.finish();
  std::cout << mz::json{{"uri", c.uri()},
                        {"run_id", run.id()},
                        {"experiment_id", run.experiment_id()},
                        {"value", value}}
                   .dump()
            << '\n';
  return 0;
}

int log_more(const std::string& db, const std::string& run_id) {
  auto run = client({.uri = db}).resume_run(run_id);
  run.log_table({{"input", {"fifth"}}}, "tables/eval.json");
  run.log_table({{"x", {3}}}, "python.json");
  std::cout << mz::json{{"done", true}}.dump() << '\n';
  return 0;
}

int export_lineage(const std::string& db, const std::string& events, const std::string& mlmd) {
  client c({.uri = db, .user = "tester"});
  const string_map git = {{"mlflow.source.git.repoURL", "git@host:team/x.git"},
                          {"mlflow.source.git.commit", std::string(40, 'a')},
                          {"mlflow.source.git.branch", "main"}};
  auto run = c.start_run("digits", {.name = "train",
                                    .tags = git,
                                    .params = {{"rate", "0.1"}},
                                    .description = "a *note* — ünïcode",
                                    .start_time = 1'700'000'000'123,
                                    .facts = recorded_facts::none});
  run.log_metric("loss", 0.25, {.step = 3});
  run.log_metric("odd", std::nan(""));
  run.log_input(
      {.name = "digits",
       .digest = "2b679e2b",
       .source = local_dataset_source("/data/digits.npy"),
       .schema =
           R"({"mlflow_colspec": [{"type": "double", "name": "x", "required": true}, {"type": "long", "name": "y"}]})"},
      {.context = "training"});
  run.log_input(
      {.name = "tensors",
       .digest = "1",
       .schema =
           R"({"mlflow_tensorspec": {"features": "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": [-1, 2]}}]"}})"});
  const std::string bytes = "onnx";
  const auto model = run.log_model(std::as_bytes(std::span(bytes)), {.name = "net"});
  const auto version = c.register_model("clf", model);
  auto child = run.start_child({.name = "child", .facts = recorded_facts::none});
  child.log_input({.name = "digits", .digest = "2b679e2b"});
  child.fail();
  auto open = c.start_run("digits", {.name = "open", .facts = recorded_facts::none});
  open.log_input({.name = "digits", .digest = "2b679e2b"});
  run.finish();
  lineage graph = c.lineage();
  const std::string step =
      graph.record({.kind = "step", .name = "ingest", .version = "pipeline-1"});
  const std::string data = graph.find("dataset", "digits", "2b679e2b")->id;
  const std::string trained = graph.find("run", "train", run.id())->id;
  graph.link(step, data, "output");
  graph.link(step, trained, "started");
  const std::string endpoint = graph.record(
      {.kind = "endpoint", .name = "digits", .attributes = {{"url", "http://localhost/v2"}}});
  graph.link(graph.find("model_version", "clf", "1")->id, endpoint, "served");
  std::ofstream(events, std::ios::binary) << to_openlineage(c);
  const mlmd_counts counts = export_mlmd(c, mlmd);
  std::cout << mz::json{{"run", run.id()},
                        {"child", child.id()},
                        {"open", open.id()},
                        {"model", model.id},
                        {"version", version.version},
                        {"end", *run.get().end_time},
                        {"artifacts", counts.artifacts},
                        {"executions", counts.executions},
                        {"contexts", counts.contexts},
                        {"events", counts.events}}
                   .dump()
            << '\n';
  // The run that is open stays so.
  std::cout.flush();
  ::_exit(0);
}

int record_facts(const std::string& db) {
  client c({.uri = db});
  auto run = c.start_run("facts", {.facts = recorded_facts::all});
  std::cout << mz::json{{"uri", c.uri()}, {"run_id", run.id()}}.dump() << '\n';
  return 0;
}

int sample_system(const std::string& db) {
  client c({.uri = db});
  auto run = c.start_run("system");
  {
    const system_metrics sampling(run);
    std::cin.get();  // until standard input is closed
  }
  std::cout << mz::json{{"uri", c.uri()}, {"run_id", run.id()}}.dump() << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  try {
    if (command == "facts" && argc >= 3) return record_facts(argv[2]);
    if (command == "lineage" && argc == 5) return export_lineage(argv[2], argv[3], argv[4]);
    if (command == "system" && argc == 3) return sample_system(argv[2]);
    if (command == "figures" && argc == 4) return draw_figures(argv[2], argv[3]);
    if (command == "documents" && argc == 3) return log_documents(argv[2]);
    if (command == "more" && argc == 4) return log_more(argv[2], argv[3]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  std::cerr << "usage: extras_program figures DATA FOLDER | documents DB | more DB RUN | facts DB "
               "| system DB | lineage DB EVENTS MLMD\n";
  return 2;
}
