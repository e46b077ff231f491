// A tracking server at either end of a transfer. It chooses the ids of runs and models, so the tags
// of transfer_source.hpp hold what they were; those tell what is there already.
#include "tracking/rest_backend.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/transfer_target.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <tuple>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t runs_at_once = 200;
constexpr std::size_t params_at_once = 100;
// Versions that may have to be made and deleted for one to get its number.
constexpr std::int64_t most_spare_versions = 10'000;
constexpr std::string_view status_prefix = "LOGGED_MODEL_";

std::string model_path(std::string_view model_id) {
  return "logged-models/" + http::percent_encode(model_id);
}

std::string tag_of(const string_map& tags, std::string_view tag) {
  const auto found = tags.find(std::string(tag));
  return found == tags.end() ? std::string() : found->second;
}

std::string equals(std::string_view tag, std::string_view id) {
  return "tags." + quoted_key(tag) + " = " + quoted_text(id);
}

// Whether a store gives such ids: others are not searched for.
bool is_hex_id(std::string_view id) {
  return id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// A server that names the id of something that is gone, or was never there.
bool is_missing(const error& e) {
  return e.code() == errc::not_found || e.code() == errc::invalid_argument;
}

}  // namespace

class rest_target final : public transfer_target {
 public:
  explicit rest_target(rest_backend& into) : server_(into) {}

  experiment place_experiment(const experiment& from) override {
    const auto there = server_.find_experiment(from.name);
    if (!there) return server_.get_or_create_experiment(from.name, {.tags = from.tags});
    if (there->stage == lifecycle_stage::deleted) {
      throw error(errc::failed_precondition, "experiment '" + from.name + "'",
                  "it is deleted over there; restore it, and transfer again");
    }
    for (const auto& [key, value] : from.tags) {
      if (!there->tags.contains(key)) server_.set_experiment_tag(there->id, key, value);
    }
    return *there;
  }

  placed_entity place_run(const run_record& from, const std::string& experiment_id) override {
    if (auto there = find_run(from.id)) return *std::move(there);
    json body = {{"experiment_id", experiment_id},
                 {"user_id", from.user},
                 {"start_time", from.start_time},
                 {"tags", to_json(string_map{{std::string(run_id_tag), from.id}})}};
    if (!from.name.empty()) body["run_name"] = from.name;
    // Not repeated when its answer is lost: the next transfer finds it by its tag.
    const json answer = server_.post("runs/create", body, repeatable::no);
    const run_record made = read_run(required_field(answer, "run"));
    made_runs_ = true;
    placed_entity placed{made.id, made.artifact_uri, {}};
    runs_[from.id] = {placed, false, {}};
    return placed;
  }

  std::optional<placed_entity> find_run(const std::string& id) override {
    if (!loaded_) load_runs();
    if (const auto known = runs_.find(id); known != runs_.end()) {
      if (known->second.deleted) throw deleted("run '" + id + "'");
      return known->second.placed;
    }
    if (!is_entity_id(id)) return std::nullopt;
    try {
      // One that came from this server.
      const json answer = server_.get("runs/get", {{"run_id", id}});
      const run_record there = read_run(required_field(answer, "run"));
      if (there.stage == lifecycle_stage::deleted) throw deleted("run '" + id + "'");
      return placed_entity{there.id, there.artifact_uri, tag_of(there.tags, state_tag)};
    } catch (const mlflow_error& e) {
      if (is_missing(e)) return std::nullopt;
      throw;
    }
  }

  void fill_run(const placed_entity& run, const run_record& from) override {
    if (!from.name.empty()) server_.rename_run(run.id, from.name);
    server_.log_batch(run.id, {}, {}, from.tags);
    for (const dataset_input& input : from.inputs) {
      server_.log_input(run.id, input.dataset, {.tags = input.tags});
    }
  }

  void link_models(const placed_entity& run, std::span<const model_use> uses) override {
    const std::vector<model_use> there = server_.model_uses(run.id);
    json outputs = json::array();
    json inputs = json::array();
    for (const model_use& use : uses) {
      const bool known = std::any_of(there.begin(), there.end(), [&](const model_use& one) {
        return one.model_id == use.model_id && one.made == use.made;
      });
      if (known) continue;
      if (use.made) {
        outputs.push_back({{"model_id", use.model_id}, {"step", use.step}});
      } else {
        inputs.push_back({{"model_id", use.model_id}});
      }
    }
    if (!outputs.empty()) {
      server_.post("runs/outputs", {{"run_id", run.id}, {"models", outputs}}, repeatable::no);
    }
    if (!inputs.empty()) {
      server_.post("runs/log-inputs", {{"run_id", run.id}, {"models", inputs}}, repeatable::no);
    }
  }

  void finish_run(const placed_entity& run, const run_record& from,
                  std::string_view state) override {
    server_.end_run(run.id, from.status, from.end_time);
    if (state.empty()) return;
    server_.log_batch(run.id, {}, {}, {{std::string(state_tag), std::string(state)}});
  }

  std::vector<transfer_problem> check_runs() override {
    if (made_runs_) load_runs();
    return std::move(doubles_);
  }

  placed_entity place_model(const model_record& from, const std::string& experiment_id) override {
    if (auto there = find_model(from.model.id)) return *std::move(there);
    json body = {{"experiment_id", experiment_id},
                 {"name", from.model.name},
                 {"tags", to_json(string_map{{std::string(model_id_tag), from.model.id}})}};
    if (!from.model.run_id.empty()) body["source_run_id"] = from.model.run_id;
    if (!from.type.empty()) body["model_type"] = from.type;
    server_.post("logged-models", body, repeatable::no);
    if (auto there = find_model(from.model.id)) return *std::move(there);
    throw error(errc::aborted, "logged model '" + from.model.id + "'",
                "it was made over there, but is not found; transfer again");
  }

  // A request that was delivered twice has made two: the one that is more than begun is it, and
  // those that are not are taken back.
  std::optional<placed_entity> find_model(const std::string& id) override {
    if (!is_entity_id(id)) return std::nullopt;
    const page<logged_model> found = server_.search_logged_models(
        {.filter = equals(model_id_tag, id), .order_by = {{.field = "creation_timestamp"}}});
    if (!found.empty()) {
      const logged_model* chosen = &found[0];
      std::vector<const logged_model*> begun;
      if (found.size() > 1) {
        for (const logged_model& one : found) {
          if (server_.get_model_record(one.id).status == "PENDING") {
            begun.push_back(&one);
          } else {
            chosen = &one;
          }
        }
      }
      for (const logged_model* one : begun) {
        if (one != chosen) server_.delete_logged_model(one->id);
      }
      return placed_entity{chosen->id, chosen->artifact_location, {}};
    }
    try {
      const json answer = server_.get(model_path(id));
      const logged_model there = read_logged_model(required_field(answer, "model"));
      return placed_entity{there.id, there.artifact_location, {}};
    } catch (const mlflow_error& e) {
      if (is_missing(e)) return std::nullopt;
      throw;
    }
  }

  void fill_model(const placed_entity& model, const model_record& from) override {
    const model_record there = server_.get_model_record(model.id);
    string_map missing;
    const auto send = [&] {
      if (missing.empty()) return;
      server_.post(model_path(model.id) + "/params",
                   {{"model_id", model.id}, {"params", to_json(missing)}}, repeatable::no);
      missing.clear();
    };
    for (const auto& [key, value] : from.params) {
      if (there.params.contains(key)) continue;
      missing.emplace(key, value);
      if (missing.size() == params_at_once) send();
    }
    send();
    if (!from.model.tags.empty()) {
      server_.send("PATCH", model_path(model.id) + "/tags", {{"tags", to_json(from.model.tags)}},
                   repeatable::yes);
    }
    std::map<std::string, json> by_run;
    const auto send_points = [&](const std::string& run_id, json& points) {
      if (points.empty()) return;
      server_.post("runs/log-batch", {{"run_id", run_id}, {"metrics", points}}, repeatable::yes);
      points = json::array();
    };
    for (const model_metric& one : from.metrics) {
      if (std::isnan(one.point.value)) continue;  // MLflow's table cannot keep it
      json& points = by_run.try_emplace(one.run_id, json::array()).first->second;
      json item = to_json(one.point);
      item["model_id"] = model.id;
      if (!one.dataset_name.empty()) item["dataset_name"] = one.dataset_name;
      if (!one.dataset_digest.empty()) item["dataset_digest"] = one.dataset_digest;
      points.push_back(std::move(item));
      if (points.size() == limits::metrics_per_batch) send_points(one.run_id, points);
    }
    for (auto& [run_id, points] : by_run) send_points(run_id, points);
    if (from.status == there.status || from.status == "PENDING") return;
    server_.send("PATCH", model_path(model.id),
                 {{"model_id", model.id}, {"status", std::string(status_prefix) + from.status}},
                 repeatable::yes);
  }

  void place_registered_model(const registered_model& from) override {
    try {
      server_.create_registered_model(from.name,
                                      {.description = from.description, .tags = from.tags});
      return;
    } catch (const error& e) {
      if (e.code() != errc::already_exists) throw;
    }
    const registered_model there = server_.get_registered_model(from.name);
    for (const auto& [key, value] : from.tags) {
      if (!there.tags.contains(key)) server_.set_registered_model_tag(from.name, key, value);
    }
  }

  std::int64_t place_version(const model_version& from, const std::string& model_id) override {
    const std::string identity = version_identity(from.version, from.creation_time);
    const model_version there = find_or_make_version(from, model_id, identity);
    for (const auto& [key, value] : from.tags) {
      const auto now = there.tags.find(key);
      if (now != there.tags.end() && now->second == value) continue;
      server_.set_model_version_tag(from.name, there.version, key, value);
    }
    if (from.description != there.description) {
      server_.update_model_version(from.name, there.version, from.description);
    }
    if (from.stage != there.stage) {
      server_.transition_model_version(from.name, there.version, from.stage, false);
    }
    return there.version;
  }

 private:
  struct known_run {
    placed_entity placed;
    bool deleted = false;
    // What tells the right one from one that a doubled request has made: the larger.
    std::tuple<bool, bool, std::size_t> rank = {};
  };

  static error deleted(const std::string& what) {
    return {errc::failed_precondition, what,
            "it is deleted over there; restore it, and transfer again"};
  }

  // All runs that were transferred to this server, in whichever experiment they are now.
  void load_runs() {
    std::map<std::string, known_run> found;
    std::vector<transfer_problem> doubles;
    run_query query{.filter = "tags." + quoted_key(run_id_tag) + " LIKE '%'",
                    .order_by = {"start_time ASC"},
                    .stage = std::nullopt,
                    .max_results = runs_at_once};
    std::vector<std::string> doubled;
    do {
      page<run_record> runs = server_.search_runs(query);
      for (const run_record& run : runs) {
        const std::string id = tag_of(run.tags, run_id_tag);
        const bool active = run.stage == lifecycle_stage::active;
        const std::string state = tag_of(run.tags, state_tag);
        const std::size_t held =
            run.metrics.size() + run.params.size() + run.inputs.size() + run.model_ids.size();
        const known_run one{
            {run.id, run.artifact_uri, state}, !active, {active, !state.empty(), held}};
        const auto [at, is_new] = found.try_emplace(id, one);
        if (is_new) continue;
        const known_run& worse = at->second.rank < one.rank ? at->second : one;
        if (!worse.deleted) {
          if (std::get<2>(worse.rank) == 0 && worse.placed.state.empty()) {
            doubled.push_back(worse.placed.id);
          } else {
            doubles.push_back({"run '" + id + "'", errc::already_exists,
                               "it is there twice, as '" + at->second.placed.id + "' and '" +
                                   one.placed.id + "'; delete one of them"});
          }
        }
        if (at->second.rank < one.rank) at->second = one;
      }
      query.page_token = std::move(runs.next_page_token);
    } while (!query.page_token.empty());
    // Empty ones that a request made which was delivered twice.
    for (const std::string& id : doubled) server_.set_run_stage(id, lifecycle_stage::deleted);
    runs_ = std::move(found);
    doubles_ = std::move(doubles);
    loaded_ = true;
    made_runs_ = false;
  }

  // The version of that identity: the first whose number is not below the one it had. Others are
  // of requests that were delivered twice, or were made for the sake of the numbers by a transfer
  // that was cut off before it could delete them.
  std::optional<model_version> find_version(const model_version& from,
                                            const std::string& identity) {
    std::vector<model_version>& known = versions_[from.name];
    const auto is_it = [&](const model_version& one) {
      const std::string tag = tag_of(one.tags, version_tag);
      if (!tag.empty()) return tag == identity;
      return one.version == from.version && one.creation_time == from.creation_time;
    };
    std::optional<model_version> found;
    for (const model_version& one : known) {
      if (is_it(one) && one.version >= from.version && (!found || one.version < found->version)) {
        found = one;
      }
    }
    std::erase_if(known, [&](const model_version& one) {
      if (!is_it(one) || (found && one.version == found->version)) return false;
      server_.delete_model_version(from.name, one.version);
      return true;
    });
    return found;
  }

  model_version find_or_make_version(const model_version& from, const std::string& model_id,
                                     const std::string& identity) {
    if (!versions_.contains(from.name)) {
      versions_[from.name] = server_.list_model_versions(from.name);
    }
    if (auto found = find_version(from, identity)) return *std::move(found);
    string_map tags;
    // What makes a version one of a prompt, and its text, must be there from the first.
    if (from.tags.contains("mlflow.prompt.is_prompt")) tags = from.tags;
    tags[std::string(version_tag)] = identity;
    json body = {{"name", from.name},
                 {"source", from.source},
                 {"description", from.description},
                 {"tags", to_json(tags)}};
    if (!from.run_id.empty()) body["run_id"] = from.run_id;
    if (!model_id.empty()) body["model_id"] = model_id;
    for (;;) {
      const json answer = server_.post("model-versions/create", body, repeatable::no);
      const model_version made = read_model_version(required_field(answer, "model_version"));
      if (made.version >= from.version) {
        versions_[from.name] = server_.list_model_versions(from.name);
        if (auto found = find_version(from, identity)) return *std::move(found);
        return made;
      }
      server_.delete_model_version(from.name, made.version);
      if (from.version - made.version > most_spare_versions) {
        throw error(errc::out_of_range,
                    "model version '" + from.name + "' " + std::to_string(from.version),
                    "the last number over there is " + std::to_string(made.version) +
                        ", which is too far away to keep this one");
      }
    }
  }

  rest_backend& server_;
  bool loaded_ = false;
  bool made_runs_ = false;
  std::map<std::string, known_run> runs_;  // by the ids that they had
  std::vector<transfer_problem> doubles_;
  std::map<std::string, std::vector<model_version>> versions_;  // over there, by name
};

std::unique_ptr<transfer_target> rest_backend::receive() {
  return std::make_unique<rest_target>(*this);
}

model_record rest_backend::get_model_record(std::string_view model_id) {
  const json answer = get(model_path(model_id));
  const json& message = required_field(answer, "model");
  const json& info = required_field(message, "info");
  const json& data = object_field(message, "data");
  model_record record{.model = read_logged_model(message)};
  record.status = text_field(info, "status");
  if (record.status.starts_with(status_prefix)) record.status.erase(0, status_prefix.size());
  record.status_message = text_field(info, "status_message");
  record.type = text_field(info, "model_type");
  record.last_update_time = integer_field(info, "last_updated_timestamp_ms");
  record.params = pairs_field(data, "params");
  for (const json& one : list_field(data, "metrics")) {
    model_metric& read = record.metrics.emplace_back();
    read.point = read_metric(one);
    read.run_id = text_field(one, "run_id");
    if (read.run_id.empty()) read.run_id = record.model.run_id;
    read.dataset_name = text_field(one, "dataset_name");
    read.dataset_digest = text_field(one, "dataset_digest");
  }
  return record;
}

std::vector<model_use> rest_backend::model_uses(std::string_view run_id) {
  const json answer = get("runs/get", {{"run_id", std::string(run_id)}});
  const json& run = required_field(answer, "run");
  std::vector<model_use> uses;
  for (const json& one : list_field(object_field(run, "outputs"), "model_outputs")) {
    uses.push_back({text_field(one, "model_id"), integer_field(one, "step"), true});
  }
  for (const json& one : list_field(object_field(run, "inputs"), "model_inputs")) {
    uses.push_back({text_field(one, "model_id"), 0, false});
  }
  return uses;
}

std::optional<std::map<std::string, std::uint64_t>> rest_backend::count_points(std::string_view) {
  return std::nullopt;
}

// --- reading by the id that something had --------------------------------------------------------

std::optional<run_record> rest_backend::find_transferred_run(std::string_view id) {
  if (!is_hex_id(id)) return std::nullopt;
  page<run_record> found = search_runs(
      {.filter = equals(run_id_tag, id), .order_by = {"start_time ASC"}, .max_results = 1});
  if (found.empty()) return std::nullopt;
  return std::move(found.items.front());
}

std::optional<logged_model> rest_backend::find_transferred_model(std::string_view id) {
  if (!id.starts_with("m-") || !is_hex_id(id.substr(2))) return std::nullopt;
  page<logged_model> found =
      search_logged_models({.filter = equals(model_id_tag, id), .max_results = 1});
  if (found.empty()) return std::nullopt;
  return std::move(found.items.front());
}

}  // namespace mizzen::tracking::detail
