// MLflow's messages as JSON (mlflow/protos/service.proto and model_registry.proto, MLflow 3.17), in
// and out. Reading is lenient where protobuf's JSON form is (a field that is absent or null has its
// default; a 64-bit number may be text; unknown fields are ignored) and strict otherwise: a field
// of another type is error(data_loss) naming it.
#pragma once

#include <mizzen/core/json.hpp>
#include <mizzen/tracking/client.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {

// JSON text, also with NaN, Infinity and -Infinity as bare words, which become text. Throws
// json::parse_error. Depth is bounded.
json parse_answer(std::string_view text);

// Fields of an answer. The subject of errors is "answer.<key>".
std::string text_field(const json& object, const char* key);
std::int64_t integer_field(const json& object, const char* key);
std::optional<std::int64_t> optional_integer_field(const json& object, const char* key);
double real_field(const json& object, const char* key);
bool flag_field(const json& object, const char* key);
const json& list_field(const json& object, const char* key);    // empty list when absent
const json& object_field(const json& object, const char* key);  // empty object when absent
// The field, which must be an object.
const json& required_field(const json& object, const char* key);
// [{"key": …, "value": …}]
string_map pairs_field(const json& object, const char* key);

experiment read_experiment(const json& message);
run_record read_run(const json& message);
metric read_metric(const json& message);
logged_model read_logged_model(const json& message);
registered_model read_registered_model(const json& message);
model_version read_model_version(const json& message);
artifact_info read_artifact_info(const json& message);

// 1.5, or "NaN". An infinity becomes the largest finite number of its sign, as in the store.
json metric_value(double value);
json to_json(const metric& point);
json to_json(const string_map& pairs);  // [{"key": …, "value": …}]
json to_json(const dataset& data);

// Bodies of runs/log-batch that hold all of this, in order, each within MLflow's limits: 1,000
// metrics, 100 parameters, 100 tags, 1,000 of all together, and 1,000,000 bytes.
std::vector<json> split_batch(std::string_view run_id, std::span<const metric> metrics,
                              const string_map& params, const string_map& tags);

// The query's filter with what it asks by fields ("attributes.status = 'FINISHED' and
// tags.`a` = 'b'"). Nothing where a key or value cannot be quoted.
std::optional<std::string> filter_of(const run_query& query);

}  // namespace mizzen::tracking::detail
