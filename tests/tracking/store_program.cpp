// The C++ side of the tests that share a store with other programs:
//   store_program write DB ONNX    writes everything a store can hold; prints what, as JSON
//   store_program read DB EXPERIMENT   prints the runs, models and versions it finds, as JSON
//   store_program events DB FOLDER logs from two processes, with event files in FOLDER; prints the
//   run as JSON
//   store_program train DB LOG     logs metrics until it is killed, noting each in LOG once it is
//   store_program verify DB LOG    whether the store has all that LOG notes, and is whole
//   store_program flush DB SECONDS brings into the store what killed processes left in their logs
#include <mizzen/core.hpp>
#include <mizzen/tracking.hpp>

#include <sys/wait.h>

#include <array>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <sqlite3.h>
#include <sstream>
#include <string>
#include <unistd.h>

namespace mz = mizzen;
using namespace mz::tracking;

namespace {

int write_store(const std::string& db, const std::string& onnx) {
  client c({.uri = db, .user = "tester"});
  c.create_experiment("written by C++", {.tags = {{"team", "mizzen"}}});
  auto parent = c.start_run(
      "written by C++",
      {.name = "parent", .tags = {{"kind", "naïve — ünïcode"}}, .description = "a *note*"});
  for (int step = 0; step < 50; ++step) {
    parent.log_metric("loss", 1.0 / (step + 1),
                      {.step = step, .timestamp = 1'700'000'000'000 + step});
  }
  parent.log_metric("odd/nan", std::numeric_limits<double>::quiet_NaN(), {.step = 3});
  parent.log_metric("odd/inf", std::numeric_limits<double>::infinity());
  parent.log_metric("odd/-inf", -std::numeric_limits<double>::infinity());
  // Out of order: the latest point is the one of the largest step.
  parent.log_metric("late", 1, {.step = 9, .timestamp = 100});
  parent.log_metric("late", 2, {.step = 4, .timestamp = 900});
  parent.log_param("rate", 0.1);
  parent.log_params({{"layers", "64,32"}, {"seed", "7"}});
  parent.log_text("hello\n", "notes/hello.txt");
  parent.log_json({{"a", {1, 2, 3}}}, "notes/a.json");
  parent.log_text(to_svg(confusion_matrix({"a", "b"})), "confusion.svg");
  parent.log_input({.name = "digits",
                    .digest = "2b679e2b",
                    .source = local_dataset_source("/data/digits.npy"),
                    .profile = R"({"num_rows": 1797})"},
                   {.context = "training"});
  const logged_model model = parent.log_model(
      std::filesystem::path(onnx),
      {.name = "model",
       .signature = {.inputs = {{"x", "float32", {-1, 2}}}, .outputs = {{"y", "float32", {-1, 2}}}},
       .metadata = {{"made by", "C++ \"quoted\" 😀\n"}}});
  auto child = parent.start_child({.name = "child"});
  child.log_metric("score", 0.5);
  child.fail();
  parent.finish();

  const model_version first =
      c.register_model("digits-classifier", model, {.description = "first", .tags = {{"a", "b"}}});
  const model_version second =
      c.register_model("digits-classifier", "runs:/" + parent.id() + "/model");
  c.set_model_alias("digits-classifier", "champion", second.version);
  c.set_registered_model_tag("digits-classifier", "task", "classification");

  std::cout << mz::json{{"uri", c.uri()},
                        {"experiment_id", parent.experiment_id()},
                        {"parent", parent.id()},
                        {"child", child.id()},
                        {"artifacts", parent.artifact_directory().string()},
                        {"model_id", model.id},
                        {"model_uri", model.uri},
                        {"versions", {first.version, second.version}}}
                   .dump(2)
            << '\n';
  return 0;
}

mz::json to_json(const metric& m) {
  return {{"key", m.key},
          {"value", std::isnan(m.value) ? mz::json("NaN") : mz::json(m.value)},
          {"step", m.step},
          {"timestamp", m.timestamp.value()}};
}

int read_store(const std::string& db, const std::string& experiment) {
  client c({.uri = db, .create = false});
  const auto found = c.find_experiment(experiment);
  if (!found) return 1;
  mz::json out;
  out["experiment"] = {{"id", found->id}, {"tags", found->tags}};
  for (const run_record& r :
       c.search_runs({.experiment_ids = {found->id}, .order_by = {"start_time ASC"}})) {
    mz::json one = {{"id", r.id},         {"name", r.name}, {"status", to_string(r.status)},
                    {"params", r.params}, {"tags", r.tags}, {"user", r.user}};
    for (const auto& [key, latest] : r.metrics) {
      one["metrics"][key] = to_json(latest);
      for (const metric& m : c.metric_history(r.id, key)) one["history"][key].push_back(to_json(m));
    }
    for (const dataset_input& i : r.inputs) {
      one["inputs"].push_back({{"name", i.dataset.name},
                               {"digest", i.dataset.digest},
                               {"source", i.dataset.source},
                               {"tags", i.tags}});
    }
    for (const logged_model& m : c.list_logged_models(r.id)) {
      one["models"].push_back({{"id", m.id}, {"name", m.name}, {"location", m.artifact_location}});
    }
    out["runs"].push_back(std::move(one));
  }
  for (const registered_model& m : c.list_registered_models()) {
    mz::json one = {{"tags", m.tags}, {"aliases", m.aliases}};
    for (const model_version& v : c.list_model_versions(m.name)) {
      one["versions"].push_back({{"version", v.version},
                                 {"source", v.source},
                                 {"location", v.location},
                                 {"run_id", v.run_id},
                                 {"aliases", v.aliases},
                                 {"tags", v.tags}});
    }
    out["registered"][m.name] = std::move(one);
  }
  std::cout << out.dump(2) << '\n';
  return 0;
}

// A process that is killed after 3,000 points, and one that takes over and logs 1,000 more.
int write_events(const std::string& db, const std::string& folder) {
  const client_options options = {.uri = db, .writer = {.tensorboard = folder}};
  std::array<int, 2> channel{};
  if (::pipe(channel.data()) != 0) return 1;
  const auto log = [](run& into, std::int64_t first, std::int64_t last) {
    for (std::int64_t step = first; step < last; ++step) {
      into.log_metric("loss", 1.0 / static_cast<double>(step + 1), {.step = step});
      if (step % 10 == 0) into.log_metric("val/accuracy", 0.5, {.step = step});
    }
  };
  const pid_t child = ::fork();
  if (child == 0) {
    client c(options);
    auto run = c.start_run("events");
    log(run, 0, 3000);
    if (::write(channel[1], run.id().data(), 32) != 32) _exit(3);
    // While it drains.
    ::kill(::getpid(), SIGKILL);
  }
  std::string id(32, '\0');
  if (::read(channel[0], id.data(), 32) != 32) return 1;
  int status = 0;
  ::waitpid(child, &status, 0);
  client c(options);
  auto run = c.resume_run(id);
  log(run, 3000, 4000);
  run.finish();
  if (!c.flush(mz::deadline::after(std::chrono::seconds(120)))) return 1;
  std::cout << mz::json{{"run_id", id}} << '\n';
  return 0;
}

int train(const std::string& db, const std::string& log_path) {
  client c({.uri = db});
  const int log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) return 1;
  const auto acknowledge = [log](const std::string& line) {
    if (::write(log, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(3);
  };
  auto run = c.start_run("training");
  acknowledge("run " + run.id() + "\n");
  // At most a minute, in case nobody kills it.
  const auto until = mz::deadline::after(std::chrono::minutes(1));
  for (std::int64_t step = 0; !until.expired(); ++step) {
    char line[96];
    const double loss = std::exp(-1e-4 * static_cast<double>(step));
    run.log_metric("loss", loss, {.step = step});
    std::snprintf(line, sizeof line, "metric loss %lld %a\n", static_cast<long long>(step), loss);
    acknowledge(line);
    if (step % 50 == 0) {
      run.log_metrics({{"accuracy", 1 - loss}, {"rate", 0.1}}, {.step = step});
      std::snprintf(line, sizeof line, "metric accuracy %lld %a\n", static_cast<long long>(step),
                    1 - loss);
      acknowledge(line);
    }
  }
  return 2;
}

// Several runs may have logged into LOG; a line that the kill cut short was not acknowledged.
int verify(const std::string& db, const std::string& log_path) {
  std::ifstream log(log_path);
  std::map<std::string, std::map<std::pair<std::string, std::int64_t>, double>> acknowledged;
  std::string line;
  std::string run_id;
  while (std::getline(log, line) && !log.eof()) {
    std::istringstream words(line);
    std::string kind, key, value;
    std::int64_t step = 0;
    words >> kind;
    if (kind == "run") {
      words >> run_id;
      acknowledged[run_id];
    } else if (kind == "metric" && words >> key >> step >> value) {
      acknowledged[run_id][{key, step}] = std::strtod(value.c_str(), nullptr);
    }
  }

  client c({.uri = db, .create = false});
  std::size_t points = 0;
  for (const auto& [id, expected] : acknowledged) {
    const run_record record = c.get_run(id);
    if (record.status != run_status::running || record.end_time) {
      std::cerr << "run " << id << " is " << to_string(record.status) << ", not RUNNING\n";
      return 1;
    }
    std::map<std::pair<std::string, std::int64_t>, double> stored;
    for (const char* key : {"loss", "accuracy"}) {
      for (const metric& m : c.metric_history(id, key)) {
        if (!stored.emplace(std::pair(m.key, m.step), m.value).second) {
          std::cerr << "doubled: " << key << " step " << m.step << '\n';
          return 1;
        }
      }
    }
    for (const auto& [at, value] : expected) {
      const auto found = stored.find(at);
      if (found == stored.end() || found->second != value) {
        std::cerr << "lost: run " << id << ' ' << at.first << " step " << at.second << '\n';
        return 1;
      }
    }
    // One point may be in the store whose acknowledgement the kill forestalled, not more per key.
    if (stored.size() > expected.size() + 2) {
      std::cerr << "run " << id << " has " << stored.size() << " points, " << expected.size()
                << " were acknowledged\n";
      return 1;
    }
    points += expected.size();
  }

  sqlite3* handle = nullptr;
  sqlite3_stmt* check = nullptr;
  bool whole =
      sqlite3_open(db.c_str(), &handle) == SQLITE_OK &&
      sqlite3_prepare_v2(handle, "PRAGMA integrity_check", -1, &check, nullptr) == SQLITE_OK &&
      sqlite3_step(check) == SQLITE_ROW &&
      std::string(reinterpret_cast<const char*>(sqlite3_column_text(check, 0))) == "ok";
  sqlite3_finalize(check);
  sqlite3_close(handle);
  if (!whole) {
    std::cerr << "integrity_check failed\n";
    return 1;
  }
  std::cout << acknowledged.size() << " runs, " << points << " acknowledged points\n";
  return 0;
}

int flush(const std::string& db, const std::string& seconds) {
  client c({.uri = db, .create = false});
  return c.flush(mz::deadline::after(std::chrono::seconds(std::stoi(seconds)))) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc == 4 ? argv[1] : "";
  try {
    if (command == "write") return write_store(argv[2], argv[3]);
    if (command == "read") return read_store(argv[2], argv[3]);
    if (command == "events") return write_events(argv[2], argv[3]);
    if (command == "train") return train(argv[2], argv[3]);
    if (command == "verify") return verify(argv[2], argv[3]);
    if (command == "flush") return flush(argv[2], argv[3]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  std::cerr << "usage: store_program write|read|events|train|verify DB FILE, or flush DB SECONDS\n";
  return 2;
}
