// OpenLineage 2-0-2: https://openlineage.io/spec/2-0-2/OpenLineage.json and its facets.
#include "core/sha256.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking/lineage_export.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

namespace mizzen::tracking {
namespace {

constexpr std::string_view spec = "https://openlineage.io/spec/";

// "2026-11-22T08:43:00.123Z"
std::string iso_time(std::int64_t milliseconds) {
  using namespace std::chrono;
  const sys_time<std::chrono::milliseconds> at{std::chrono::milliseconds(milliseconds)};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss time(at - day);
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                static_cast<int>(time.subseconds().count()));
  return text;
}

// Run ids are the digits of UUIDs; other ids are made to one.
std::string uuid_of(const std::string& run_id) {
  const bool plain =
      run_id.size() == 32 && run_id.find_first_not_of("0123456789abcdef") == std::string::npos;
  std::string id = plain ? run_id : mizzen::detail::sha256_hex(run_id).substr(0, 32);
  for (const std::size_t at : {8, 13, 18, 23}) id.insert(at, "-");
  return id;
}

class exporter {
 public:
  exporter(const client& from, const openlineage_options& options)
      : from_(from), options_(options), graph_(from.lineage().all()) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) index_[graph_.nodes[i].id] = i;
    for (const lineage_edge& edge : graph_.edges) outgoing_.emplace(edge.from, &edge);
  }

  std::vector<json> events() {
    std::vector<std::string> ids = options_.run_ids;
    if (ids.empty()) {
      for (const lineage_node& node : graph_.nodes) {
        if (node.kind == "run") ids.push_back(node.version);
      }
    }
    // Time, then start before end, then the run.
    std::vector<std::tuple<std::int64_t, int, std::string, json>> dated;
    for (const std::string& id : ids) {
      const run_record record = from_.get_run(id);
      const json body = body_of(record);
      const auto add = [&](std::int64_t time, int order, std::string_view type) {
        json event = body;
        event["eventTime"] = iso_time(time);
        event["eventType"] = type;
        dated.emplace_back(time, order, id, std::move(event));
      };
      add(record.start_time, 0, "START");
      if (record.end_time) add(*record.end_time, 1, ending(record.status));
    }
    std::sort(dated.begin(), dated.end(), [](const auto& a, const auto& b) {
      return std::tie(std::get<0>(a), std::get<1>(a), std::get<2>(a)) <
             std::tie(std::get<0>(b), std::get<1>(b), std::get<2>(b));
    });
    std::vector<json> out;
    for (auto& one : dated) out.push_back(std::move(std::get<3>(one)));
    return out;
  }

 private:
  static std::string_view ending(run_status status) {
    switch (status) {
      case run_status::finished:
        return "COMPLETE";
      case run_status::failed:
        return "FAIL";
      case run_status::killed:
        return "ABORT";
      default:
        return "OTHER";
    }
  }

  json facet(std::string_view version, std::string_view name, json content) const {
    content["_producer"] = options_.producer;
    content["_schemaURL"] = std::string(spec) + "facets/" + std::string(version) + "/" +
                            std::string(name) + ".json#/$defs/" + std::string(name);
    return content;
  }

  std::string experiment_name(const std::string& id) {
    const auto [at, added] = experiments_.try_emplace(id);
    if (added) at->second = from_.get_experiment(id).name;
    return at->second;
  }

  json job_of(const run_record& record) {
    return {{"namespace", options_.job_namespace}, {"name", experiment_name(record.experiment_id)}};
  }

  json body_of(const run_record& record) {
    const auto tag = [&](const char* key) {
      const auto found = record.tags.find(key);
      return found == record.tags.end() ? std::string() : found->second;
    };
    json run = {{"runId", uuid_of(record.id)}, {"facets", json::object()}};
    if (const std::string parent = tag("mlflow.parentRunId"); !parent.empty()) {
      run["facets"]["parent"] = facet(
          "1-2-0", "ParentRunFacet",
          {{"run", {{"runId", uuid_of(parent)}}}, {"job", job_of(parent_of(record, parent))}});
    }
    json job = job_of(record);
    json& facets = job["facets"];
    facets["jobType"] =
        facet("2-0-4", "JobTypeJobFacet",
              {{"processingType", "BATCH"}, {"integration", "MIZZEN"}, {"jobType", "RUN"}});
    if (const std::string note = tag("mlflow.note.content"); !note.empty()) {
      facets["documentation"] = facet("1-1-0", "DocumentationJobFacet",
                                      {{"description", note}, {"contentType", "text/markdown"}});
    }
    const std::string repository = tag("mlflow.source.git.repoURL");
    const std::string commit = tag("mlflow.source.git.commit");
    if (!repository.empty() && !commit.empty()) {
      json source = {{"type", "git"},
                     {"url", as_uri(repository)},
                     {"repoUrl", repository},
                     {"version", commit}};
      if (const std::string branch = tag("mlflow.source.git.branch"); !branch.empty()) {
        source["branch"] = branch;
      }
      facets["sourceCodeLocation"] = facet("1-1-0", "SourceCodeLocationJobFacet", source);
    }
    return {{"run", run},
            {"job", job},
            {"inputs", inputs_of(record)},
            {"outputs", outputs_of(record)},
            {"producer", options_.producer},
            {"schemaURL", std::string(spec) + "2-0-2/OpenLineage.json#/$defs/RunEvent"}};
  }

  // A parent that is gone is taken to be of the child's experiment.
  run_record parent_of(const run_record& child, const std::string& id) const {
    try {
      return from_.get_run(id);
    } catch (const error& e) {
      if (e.code() != errc::not_found) throw;
      return child;
    }
  }

  // "git@host:path", which is no URI, as one.
  static std::string as_uri(const std::string& repository) {
    if (repository.find("://") != std::string::npos) return repository;
    const auto colon = repository.find(':');
    if (colon == std::string::npos || repository.find('/') < colon) return "file://" + repository;
    return "ssh://" + repository.substr(0, colon) + "/" + repository.substr(colon + 1);
  }

  json dataset(std::string name, json facets) const {
    return {{"namespace", options_.job_namespace},
            {"name", std::move(name)},
            {"facets", std::move(facets)}};
  }

  json version_facet(const std::string& version) const {
    return facet("1-0-1", "DatasetVersionDatasetFacet", {{"datasetVersion", version}});
  }

  json inputs_of(const run_record& record) {
    json out = json::array();
    for (const dataset_input& input : record.inputs) {
      const tracking::dataset& data = input.dataset;
      json facets = {{"version", version_facet(data.digest)}};
      const json source = json::parse(data.source, nullptr, false);
      json where = {{"name", data.name}};
      if (source.is_object() && source.contains("uri") && source["uri"].is_string()) {
        const std::string uri = source["uri"].get<std::string>();
        where["uri"] = uri.starts_with('/') ? "file://" + uri : uri;
      }
      facets["dataSource"] = facet("1-0-1", "DatasourceDatasetFacet", where);
      if (json fields = fields_of(data.schema); !fields.empty()) {
        facets["schema"] = facet("1-2-0", "SchemaDatasetFacet", {{"fields", std::move(fields)}});
      }
      out.push_back(dataset(data.name, std::move(facets)));
    }
    // What else leads to the run in the graph: its node is found by the run's id.
    for (const lineage_node* node : neighbours_into(record.id)) {
      if (node->kind == "dataset" || is_process(*node)) continue;
      out.push_back(dataset(node->kind + "/" + node->name,
                            node->version.empty()
                                ? json::object()
                                : json{{"version", version_facet(node->version)}}));
    }
    return out;
  }

  json outputs_of(const run_record& record) {
    json out = json::array();
    std::vector<std::string> open;
    for (const lineage_node& node : graph_.nodes) {
      if (node.kind == "run" && node.version == record.id) open.push_back(node.id);
    }
    std::map<std::string, bool> seen;
    // From the run on, and over registrations.
    bool first = true;
    while (!open.empty()) {
      std::vector<std::string> next;
      for (const std::string& id : open) {
        const auto [begin, end] = outgoing_.equal_range(id);
        for (auto at = begin; at != end; ++at) {
          const lineage_edge& edge = *at->second;
          if (!first && edge.relation != "registered") continue;
          const auto found = index_.find(edge.to);
          if (found == index_.end() || !seen.emplace(edge.to, true).second) continue;
          const lineage_node& node = graph_.nodes[found->second];
          if (is_process(node)) continue;
          json facets = json::object();
          if (!node.version.empty()) facets["version"] = version_facet(node.version);
          const std::string name = node.kind == "dataset" ? node.name : node.kind + "/" + node.name;
          out.push_back(dataset(name, std::move(facets)));
          next.push_back(edge.to);
        }
      }
      first = false;
      open = std::move(next);
    }
    return out;
  }

  std::vector<const lineage_node*> neighbours_into(const std::string& run_id) const {
    std::vector<const lineage_node*> out;
    for (const lineage_edge& edge : graph_.edges) {
      const auto to = index_.find(edge.to), from = index_.find(edge.from);
      if (to == index_.end() || from == index_.end()) continue;
      const lineage_node& target = graph_.nodes[to->second];
      if (target.kind == "run" && target.version == run_id) {
        out.push_back(&graph_.nodes[from->second]);
      }
    }
    return out;
  }

  static bool is_process(const lineage_node& node) {
    return node.kind == "run" || node.kind == "step";
  }

  // Of the two forms in which MLflow writes a dataset's schema.
  static json fields_of(const std::string& schema) {
    json fields = json::array();
    const json parsed = json::parse(schema, nullptr, false);
    if (!parsed.is_object()) return fields;
    const auto text = [](const json& of, const char* key) {
      const auto found = of.find(key);
      return found != of.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    const auto add = [&](std::string name, const std::string& type) {
      json field = {{"name", std::move(name)}};
      if (!type.empty()) field["type"] = type;
      fields.push_back(std::move(field));
    };
    if (const auto columns = parsed.find("mlflow_colspec");
        columns != parsed.end() && columns->is_array()) {
      for (const json& column : *columns) {
        if (column.is_object()) add(text(column, "name"), text(column, "type"));
      }
    }
    if (const auto tensors = parsed.find("mlflow_tensorspec");
        tensors != parsed.end() && tensors->is_object()) {
      for (const auto& [part, content] : tensors->items()) {
        json list = content;
        if (content.is_string()) list = json::parse(content.get<std::string>(), nullptr, false);
        if (!list.is_array()) continue;
        for (const json& tensor : list) {
          if (!tensor.is_object()) continue;
          const auto inner = tensor.find("tensor-spec");
          const bool whole = inner != tensor.end() && inner->is_object();
          std::string name = text(tensor, "name");
          if (name.empty()) name = part;
          std::string type = whole ? text(*inner, "dtype") : std::string();
          if (whole && inner->contains("shape")) type += (*inner)["shape"].dump();
          add(std::move(name), type);
        }
      }
    }
    return fields;
  }

  const client& from_;
  const openlineage_options& options_;
  const lineage_graph graph_;
  std::map<std::string, std::size_t> index_;                  // node id -> place
  std::multimap<std::string, const lineage_edge*> outgoing_;  // by node id
  std::map<std::string, std::string> experiments_;            // id -> name
};

}  // namespace

std::vector<json> openlineage_events(const client& from, const openlineage_options& options) {
  return exporter(from, options).events();
}

std::string to_openlineage(const client& from, const openlineage_options& options) {
  std::string out;
  for (const json& event : openlineage_events(from, options)) out += event.dump() + "\n";
  return out;
}

}  // namespace mizzen::tracking
