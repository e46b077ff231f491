#include "bindings.hpp"

#include <mizzen/tracking.hpp>

#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mizzen::python {
namespace {

using namespace tracking;
using no_gil = py::call_guard<py::gil_scoped_release>;

// What MLflow's client does with a value that is no text.
std::string text(const py::handle& value) { return py::str(value); }

string_map texts(const std::optional<py::dict>& values) {
  string_map result;
  if (values) {
    for (const auto& [key, value] : *values) result.emplace(text(key), text(value));
  }
  return result;
}

run start_run(client& self, const std::string& experiment, const std::string& name,
              const std::optional<py::dict>& tags, const std::optional<py::dict>& params,
              const std::string& parent_run_id, const std::string& description) {
  run_options options{.name = name,
                      .tags = texts(tags),
                      .params = texts(params),
                      .parent_run_id = parent_run_id,
                      .description = description};
  const py::gil_scoped_release release;
  return self.start_run(experiment, std::move(options));
}

void log_metrics(run& self, const std::map<std::string, double>& values, std::int64_t step,
                 std::optional<std::int64_t> timestamp) {
  std::vector<metric> points;
  points.reserve(values.size());
  for (const auto& [key, value] : values) {
    points.push_back({.key = key, .value = value, .step = step, .timestamp = timestamp});
  }
  self.log_metrics(points);
}

// An ONNX model as a path, as bytes, or as an onnx.ModelProto.
logged_model log_model(run& self, const py::object& model, const std::string& name,
                       const std::optional<py::dict>& params, const std::optional<py::dict>& tags) {
  const model_options options{.name = name, .params = texts(params), .tags = texts(tags)};
  py::object content = model;
  if (py::hasattr(model, "SerializeToString")) content = model.attr("SerializeToString")();
  if (py::isinstance<py::bytes>(content)) {
    const std::string_view bytes = content.cast<std::string_view>();
    const py::gil_scoped_release release;
    return self.log_model(std::as_bytes(std::span(bytes.data(), bytes.size())), options);
  }
  const auto path = content.cast<std::filesystem::path>();
  const py::gil_scoped_release release;
  return self.log_model(path, options);
}

bool leave(run& self, const py::object& type, const py::args&) {
  const bool failed = !type.is_none();
  const py::gil_scoped_release release;
  if (failed) {
    self.fail();
  } else {
    self.finish();
  }
  return false;
}

void bind_values(py::module_& module) {
  py::class_<experiment>(module, "Experiment")
      .def_readonly("id", &experiment::id)
      .def_readonly("name", &experiment::name)
      .def_readonly("artifact_location", &experiment::artifact_location)
      .def_property_readonly("stage",
                             [](const experiment& e) { return std::string(to_string(e.stage)); })
      .def_readonly("creation_time", &experiment::creation_time)
      .def_readonly("last_update_time", &experiment::last_update_time)
      .def_readonly("tags", &experiment::tags);

  py::class_<metric>(module, "Metric")
      .def_readonly("key", &metric::key)
      .def_readonly("value", &metric::value)
      .def_readonly("step", &metric::step)
      .def_readonly("timestamp", &metric::timestamp)
      .def("__repr__", [](const metric& m) {
        return "<Metric " + m.key + " = " + py::repr(py::cast(m.value)).cast<std::string>() +
               " at step " + std::to_string(m.step) + ">";
      });

  py::class_<run_record>(module, "RunRecord")
      .def_readonly("id", &run_record::id)
      .def_readonly("experiment_id", &run_record::experiment_id)
      .def_readonly("name", &run_record::name)
      .def_readonly("user", &run_record::user)
      .def_property_readonly("status",
                             [](const run_record& r) { return std::string(to_string(r.status)); })
      .def_property_readonly("stage",
                             [](const run_record& r) { return std::string(to_string(r.stage)); })
      .def_readonly("start_time", &run_record::start_time)
      .def_readonly("end_time", &run_record::end_time)
      .def_readonly("artifact_uri", &run_record::artifact_uri)
      .def_readonly("metrics", &run_record::metrics)
      .def_readonly("params", &run_record::params)
      .def_readonly("tags", &run_record::tags)
      .def_readonly("model_ids", &run_record::model_ids)
      .def("__repr__", [](const run_record& r) {
        return "<RunRecord " + r.name + " " + r.id + " " + std::string(to_string(r.status)) + ">";
      });

  py::class_<artifact_info>(module, "ArtifactInfo")
      .def_readonly("path", &artifact_info::path)
      .def_readonly("is_directory", &artifact_info::is_directory)
      .def_readonly("size", &artifact_info::size)
      .def("__repr__", [](const artifact_info& a) { return "<ArtifactInfo " + a.path + ">"; });

  py::class_<logged_model>(module, "LoggedModel")
      .def_readonly("id", &logged_model::id)
      .def_readonly("name", &logged_model::name)
      .def_readonly("uri", &logged_model::uri)
      .def_readonly("artifact_location", &logged_model::artifact_location)
      .def_readonly("experiment_id", &logged_model::experiment_id)
      .def_readonly("run_id", &logged_model::run_id)
      .def_readonly("creation_time", &logged_model::creation_time)
      .def_readonly("tags", &logged_model::tags)
      .def("__repr__", [](const logged_model& m) { return "<LoggedModel " + m.uri + ">"; });

  py::class_<registered_model>(module, "RegisteredModel")
      .def_readonly("name", &registered_model::name)
      .def_readonly("description", &registered_model::description)
      .def_readonly("creation_time", &registered_model::creation_time)
      .def_readonly("last_update_time", &registered_model::last_update_time)
      .def_readonly("tags", &registered_model::tags)
      .def_readonly("aliases", &registered_model::aliases);

  py::class_<model_version>(module, "ModelVersion")
      .def_readonly("name", &model_version::name)
      .def_readonly("version", &model_version::version)
      .def_readonly("source", &model_version::source)
      .def_readonly("location", &model_version::location)
      .def_readonly("run_id", &model_version::run_id)
      .def_readonly("status", &model_version::status)
      .def_readonly("description", &model_version::description)
      .def_readonly("creation_time", &model_version::creation_time)
      .def_readonly("last_update_time", &model_version::last_update_time)
      .def_readonly("tags", &model_version::tags)
      .def_readonly("aliases", &model_version::aliases)
      .def("__repr__", [](const model_version& v) {
        return "<ModelVersion " + v.name + " " + std::to_string(v.version) + ">";
      });
}

void bind_run(py::module_& module) {
  py::class_<run>(module, "Run", "A run that this process writes. Ends with its with block.")
      .def_property_readonly("id", &run::id)
      .def_property_readonly("experiment_id", &run::experiment_id)
      .def_property_readonly("name", &run::name)
      .def_property_readonly("artifact_directory",
                             [](const run& self) { return self.artifact_directory(); })
      .def(
          "log_metric",
          [](run& self, const std::string& key, double value, std::int64_t step,
             std::optional<std::int64_t> timestamp) {
            self.log_metric(key, value, {.step = step, .timestamp = timestamp});
          },
          py::arg("key"), py::arg("value"), py::arg("step") = 0, py::arg("timestamp") = py::none(),
          no_gil())
      .def("log_metrics", &log_metrics, py::arg("metrics"), py::arg("step") = 0,
           py::arg("timestamp") = py::none(), no_gil())
      .def(
          "log_param",
          [](run& self, const std::string& key, const py::object& value) {
            const auto written = text(value);
            const py::gil_scoped_release release;
            self.log_param(key, std::string_view(written));
          },
          py::arg("key"), py::arg("value"))
      .def(
          "log_params",
          [](run& self, const py::dict& params) {
            const auto written = texts(params);
            const py::gil_scoped_release release;
            self.log_params(written);
          },
          py::arg("params"))
      .def(
          "set_tag",
          [](run& self, const std::string& key, const py::object& value) {
            const auto written = text(value);
            const py::gil_scoped_release release;
            self.set_tag(key, written);
          },
          py::arg("key"), py::arg("value"))
      .def(
          "set_tags",
          [](run& self, const py::dict& tags) {
            const auto written = texts(tags);
            const py::gil_scoped_release release;
            self.set_tags(written);
          },
          py::arg("tags"))
      .def(
          "delete_tag", [](run& self, const std::string& key) { self.delete_tag(key); },
          py::arg("key"), no_gil())
      .def(
          "log_artifact",
          [](run& self, const std::filesystem::path& local, const std::string& artifact_path) {
            self.log_artifact(local, artifact_path);
          },
          py::arg("local_path"), py::arg("artifact_path") = "", no_gil())
      .def(
          "log_text",
          [](run& self, const std::string& content, const std::string& file) {
            self.log_text(content, file);
          },
          py::arg("text"), py::arg("artifact_file"), no_gil())
      .def(
          "list_artifacts",
          [](const run& self, const std::string& path) { return self.list_artifacts(path); },
          py::arg("artifact_path") = "", no_gil())
      .def("log_model", &log_model, py::arg("model"), py::arg("name") = "model",
           py::arg("params") = py::none(), py::arg("tags") = py::none())
      .def(
          "start_child",
          [](run& self, const std::string& name, const std::optional<py::dict>& tags,
             const std::optional<py::dict>& params) {
            run_options options{.name = name, .tags = texts(tags), .params = texts(params)};
            const py::gil_scoped_release release;
            return self.start_child(std::move(options));
          },
          py::arg("name") = "", py::kw_only(), py::arg("tags") = py::none(),
          py::arg("params") = py::none())
      .def("get", &run::get, no_gil())
      .def("finish", &run::finish, no_gil())
      .def("fail", &run::fail, no_gil())
      .def(
          "end", [](run& self, const std::string& status) { self.end(parse_run_status(status)); },
          py::arg("status"), no_gil())
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", &leave);
}

void bind_client(py::module_& module) {
  py::class_<client>(module, "Client", "An embedded store that MLflow opens as its own.")
      .def(py::init([](const std::string& uri, const std::string& artifact_root, bool create,
                       bool power_safe) {
             client_options options{
                 .uri = uri,
                 .artifact_root = artifact_root,
                 .durability = power_safe ? durability::power : durability::process,
                 .create = create};
             const py::gil_scoped_release release;
             return client(std::move(options));
           }),
           py::arg("uri") = "", py::kw_only(), py::arg("artifact_root") = "",
           py::arg("create") = true, py::arg("power_safe") = false)
      .def_property_readonly("uri", &client::uri)
      // Experiments.
      .def(
          "create_experiment",
          [](client& self, const std::string& name, const std::string& location,
             const std::optional<py::dict>& tags) {
            const experiment_options options{.artifact_location = location, .tags = texts(tags)};
            const py::gil_scoped_release release;
            return self.create_experiment(name, options);
          },
          py::arg("name"), py::arg("artifact_location") = "", py::arg("tags") = py::none())
      .def(
          "get_experiment",
          [](const client& self, const std::string& id) { return self.get_experiment(id); },
          py::arg("id"), no_gil())
      .def(
          "find_experiment",
          [](const client& self, const std::string& name) { return self.find_experiment(name); },
          py::arg("name"), no_gil())
      .def(
          "list_experiments", [](const client& self) { return self.list_experiments(); }, no_gil())
      // Runs.
      .def("start_run", &start_run, py::arg("experiment") = "Default", py::arg("name") = "",
           py::kw_only(), py::arg("tags") = py::none(), py::arg("params") = py::none(),
           py::arg("parent_run_id") = "", py::arg("description") = "")
      .def(
          "resume_run", [](client& self, const std::string& id) { return self.resume_run(id); },
          py::arg("run_id"), no_gil())
      .def(
          "get_run", [](const client& self, const std::string& id) { return self.get_run(id); },
          py::arg("run_id"), no_gil())
      .def(
          "search_runs",
          [](const client& self, std::vector<std::string> experiment_ids, std::string filter,
             std::vector<std::string> order_by, const std::optional<std::string>& status,
             std::map<std::string, std::string> tags, std::size_t max_results) {
            run_query query{.experiment_ids = std::move(experiment_ids),
                            .filter = std::move(filter),
                            .order_by = std::move(order_by),
                            .tags = std::move(tags)};
            if (status) query.status = parse_run_status(*status);
            std::vector<run_record> found;
            do {
              query.max_results = std::min<std::size_t>(max_results - found.size(), 10'000);
              page<run_record> next = self.search_runs(query);
              std::move(next.items.begin(), next.items.end(), std::back_inserter(found));
              query.page_token = std::move(next.next_page_token);
            } while (!query.page_token.empty() && found.size() < max_results);
            return found;
          },
          py::kw_only(), py::arg("experiment_ids") = std::vector<std::string>{},
          py::arg("filter") = "", py::arg("order_by") = std::vector<std::string>{},
          py::arg("status") = py::none(), py::arg("tags") = std::map<std::string, std::string>{},
          py::arg("max_results") = 1000, no_gil())
      .def(
          "metric_history",
          [](const client& self, const std::string& id, const std::string& key) {
            return self.metric_history(id, key);
          },
          py::arg("run_id"), py::arg("key"), no_gil())
      // Registry.
      .def(
          "create_registered_model",
          [](client& self, const std::string& name, const std::string& description,
             const std::optional<py::dict>& tags) {
            const registered_model_options options{.description = description, .tags = texts(tags)};
            const py::gil_scoped_release release;
            return self.create_registered_model(name, options);
          },
          py::arg("name"), py::arg("description") = "", py::arg("tags") = py::none())
      .def(
          "register_model",
          [](client& self, const std::string& name,
             const std::variant<logged_model, std::string>& model, const std::string& run_id,
             const std::string& description, const std::optional<py::dict>& tags) {
            const model_version_options options{
                .run_id = run_id, .description = description, .tags = texts(tags)};
            const py::gil_scoped_release release;
            if (const auto* logged = std::get_if<logged_model>(&model)) {
              return self.register_model(name, *logged, options);
            }
            return self.register_model(name, std::string_view(std::get<std::string>(model)),
                                       options);
          },
          py::arg("name"), py::arg("model"), py::kw_only(), py::arg("run_id") = "",
          py::arg("description") = "", py::arg("tags") = py::none())
      .def(
          "get_registered_model",
          [](const client& self, const std::string& name) {
            return self.get_registered_model(name);
          },
          py::arg("name"), no_gil())
      .def("list_registered_models", &client::list_registered_models, no_gil())
      .def(
          "get_model_version",
          [](const client& self, const std::string& name, std::int64_t version) {
            return self.get_model_version(name, version);
          },
          py::arg("name"), py::arg("version"), no_gil())
      .def(
          "get_model_version_by_alias",
          [](const client& self, const std::string& name, const std::string& alias) {
            return self.get_model_version_by_alias(name, alias);
          },
          py::arg("name"), py::arg("alias"), no_gil())
      .def(
          "list_model_versions",
          [](const client& self, const std::string& name) {
            return self.list_model_versions(name);
          },
          py::arg("name"), no_gil())
      .def(
          "set_model_alias",
          [](client& self, const std::string& name, const std::string& alias,
             std::int64_t version) { self.set_model_alias(name, alias, version); },
          py::arg("name"), py::arg("alias"), py::arg("version"), no_gil())
      .def(
          "delete_model_alias",
          [](client& self, const std::string& name, const std::string& alias) {
            self.delete_model_alias(name, alias);
          },
          py::arg("name"), py::arg("alias"), no_gil());
}

}  // namespace

void bind_tracking(py::module_& module) {
  bind_values(module);
  bind_run(module);
  bind_client(module);
}

}  // namespace mizzen::python
