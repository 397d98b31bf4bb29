//! The description of the REST surface, made of the routes themselves: `OpenAPI` 3.1.

use crate::error::ErrorBody;
use crate::faults::Fault;
use axum::Extension;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    ResponseBuilder, Schema,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// Name of the way in.
const SCHEME: &str = "api_key";

/// What is said of all operations together.
const DESCRIPTION: &str = "What a test sets up and looks at, beside the APIs that a real server has. \
    JSON in and out; times are UNIX seconds, with decimals where there are any. \
    Refusals are `{\"error\": \"...\"}` with the reason in words.";

/// A refusal because something that the request names is not there.
#[derive(IntoResponses)]
#[response(status = 404, description = "Something that the request names is not there")]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct NotFound(ErrorBody);

/// A refusal because of what is there.
#[derive(IntoResponses)]
#[response(status = 409, description = "It is there already, or is in use")]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct Conflict(ErrorBody);

/// The description as text.
#[derive(Debug, Clone)]
pub(crate) struct Document(Bytes);

impl From<String> for Document {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Shows this description; it needs no key.
#[utoipa::path(get, path = "/openapi.json", operation_id = "show_description", tag = "description", security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object)))]
pub(crate) async fn show(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document.0)
}

/// The whole description in JSON: `operations` with what is said of all of them.
pub(crate) fn document(prefix: &str, operations: OpenApi) -> String {
    let mut document = frame().nest(prefix, operations);
    complete(&mut document);
    close_faults(&mut document);
    // Nothing in it but texts, numbers and lists of them.
    document.to_pretty_json().unwrap_or_default()
}

fn frame() -> OpenApi {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The REST API key that the server prints when it starts"));
    let components = ComponentsBuilder::new()
        .security_scheme(SCHEME, SecurityScheme::Http(scheme.build()))
        .schema(ErrorBody::name(), ErrorBody::schema());
    let info = InfoBuilder::new()
        .title("oco-mock-server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(
            LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build(),
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new(SCHEME, Vec::<String>::new())]))
        .build()
}

/// Says of the kinds of a fault that they take no further fields: what is derived says so of structures only.
fn close_faults(document: &mut OpenApi) {
    let schemas = document
        .components
        .as_mut()
        .map(|components| &mut components.schemas);
    let Some(RefOr::T(Schema::OneOf(kinds))) = schemas.and_then(|schemas| schemas.get_mut(&*Fault::name()))
    else {
        return;
    };
    for kind in &mut kinds.items {
        if let RefOr::T(Schema::Object(kind)) = kind {
            kind.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// Adds the refusals that come of how all requests are taken in, so that no handler has to name them.
fn complete(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item).filter(|operation| operation.security.is_none()) {
            refuses(operation, 401, "The API key is missing or wrong");
            refuses(operation, 500, "The database failed");
            if operation.parameters.is_some() || operation.request_body.is_some() {
                refuses(operation, 400, "A value is out of its bounds or cannot be read");
            }
            if operation.request_body.is_some() {
                refuses(operation, 408, "The body does not come in time");
                refuses(operation, 413, "The body is larger than the server takes");
                refuses(operation, 415, "The content type is not application/json");
                refuses(operation, 422, "A field is missing, unknown or of another type");
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete]
        .into_iter()
        .flatten()
}

fn refuses(operation: &mut Operation, status: u16, why: &str) {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ErrorBody::name())))
        .build();
    let response = ResponseBuilder::new()
        .description(why)
        .content("application/json", content);
    operation
        .responses
        .responses
        .entry(status.to_string())
        .or_insert_with(|| response.build().into());
}
