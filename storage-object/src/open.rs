//! Stores by their URLs.

use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result};
use object_store::ObjectStoreScheme;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
use object_store::RetryConfig;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::{MultipartObjectStore, ObjectOptions};

/// The store, and the path in it.
pub fn store(url: &str, options: &ObjectOptions) -> Result<(Arc<dyn MultipartObjectStore>, Path)> {
    let parsed = Url::parse(url).map_err(|error| invalid(url, &error))?;
    let (scheme, path) = ObjectStoreScheme::parse(&parsed).map_err(|error| invalid(url, &error))?;
    Ok((build(scheme, url, options)?, path))
}

#[cfg_attr(
    not(any(feature = "s3", feature = "gcs", feature = "azure")),
    expect(unused_variables, reason = "a store in memory has no retries")
)]
fn build(
    scheme: ObjectStoreScheme,
    url: &str,
    options: &ObjectOptions,
) -> Result<Arc<dyn MultipartObjectStore>> {
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    let retry = RetryConfig { retry_timeout: options.retry_for(), ..RetryConfig::default() };
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    use_ring();
    let built: object_store::Result<Arc<dyn MultipartObjectStore>> = match scheme {
        ObjectStoreScheme::Memory => Ok(Arc::new(InMemory::new())),
        #[cfg(feature = "s3")]
        ObjectStoreScheme::AmazonS3 => {
            let builder = object_store::aws::AmazonS3Builder::from_env().with_url(url).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        #[cfg(feature = "gcs")]
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder =
                object_store::gcp::GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        #[cfg(feature = "azure")]
        ObjectStoreScheme::MicrosoftAzure => {
            let builder =
                object_store::azure::MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry);
            builder.build().map(|store| Arc::new(store) as _)
        }
        other => {
            let message = format!(
                "{url}: this build has no store for it ({other:?}); features s3, gcs and azure add them"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    };
    built.map_err(|error| invalid(url, &error))
}

/// Chooses the cryptography of this process's connections, unless the application has.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn use_ring() {
    // An error says that the application has chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn invalid(url: &str, error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{url}: {error}"))
}
