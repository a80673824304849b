//! Images of the account, their snapshots, and whatever refers to an image: what `muster-image` sees and does.

use crate::action::Action;
use crate::client::{Aws, InRegion};
use crate::errors;
use crate::governor::Toll;
use crate::words;
use aws_sdk_ec2::types::{
    Filter, ImageAttributeName, ImageState, LaunchPermission, LaunchPermissionModifications, Tag,
};
use aws_smithy_types::DateTime;
use fleet::{ApiError, ErrorClass, ImageId, ImageView, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// An image that this account owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `ami-…`.
    pub id: String,
    /// Its name, which no other image of the account has.
    pub name: String,
    /// The account that owns it.
    pub owner: String,
    /// Whether it can be launched: `available`.
    pub available: bool,
    /// When it was made.
    pub created: Timestamp,
    /// EC2's word: `x86_64`, `arm64`.
    pub architecture: String,
    /// The snapshots that its disks are made of.
    pub snapshots: Vec<String>,
    /// From when on it is deprecated, where that is said. May lie ahead.
    pub deprecated: Option<Timestamp>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A snapshot that this account owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `snap-…`.
    pub id: String,
    /// When it was begun.
    pub started: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Images by their ids, in whatever state they are, whoever's.
pub(crate) async fn look_up(region: &InRegion, images: &[ImageId]) -> Result<Vec<ImageView>, ApiError> {
    let ids = images.iter().map(ImageId::to_string).collect();
    // By filter, because an id that is gone makes a call by ids fail for all.
    let filter = Filter::builder().name("image-id").set_values(Some(ids)).build();
    let send = |token| {
        let call = region.ec2.describe_images().filters(filter.clone());
        call.include_deprecated(true).include_disabled(true).max_results(1000).set_next_token(token).send()
    };
    let found = region.pages(Action::DescribeImages, usize::MAX, send, |page| {
        (page.images.unwrap_or_default(), page.next_token)
    });
    let view = |image: aws_sdk_ec2::types::Image| {
        Some(ImageView {
            id: ImageId::new(image.image_id?),
            state: image.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            architecture: image.architecture.map(|architecture| architecture.as_str().to_owned()),
        })
    };
    Ok(found.await?.into_iter().filter_map(view).collect())
}

impl Aws {
    /// The images that this account owns and that have a tag. Deprecated ones too.
    ///
    /// Fails with the class of the listing's first failure; safe to repeat.
    pub async fn images(&self, tag: &str) -> Result<Vec<Image>, ApiError> {
        let filter = Filter::builder().name("tag-key").values(tag).build();
        self.list_images(|call| call.owners("self").filters(filter.clone())).await
    }

    /// An image by its id, if this account owns it; `None` where there is none, or it is another's.
    pub async fn image(&self, id: &str) -> Result<Option<Image>, ApiError> {
        let filter = Filter::builder().name("image-id").values(id).build();
        let found = self.list_images(|call| call.owners("self").filters(filter.clone())).await?;
        Ok(found.into_iter().next())
    }

    async fn list_images(
        &self,
        which: impl Fn(
            aws_sdk_ec2::operation::describe_images::builders::DescribeImagesFluentBuilder,
        ) -> aws_sdk_ec2::operation::describe_images::builders::DescribeImagesFluentBuilder,
    ) -> Result<Vec<Image>, ApiError> {
        let region = self.in_region();
        let send = |token| {
            let call = region.ec2.describe_images().include_deprecated(true);
            which(call).max_results(1000).set_next_token(token).send()
        };
        let found = region.pages(Action::DescribeImages, usize::MAX, send, |page| {
            (page.images.unwrap_or_default(), page.next_token)
        });
        found.await?.into_iter().map(read_image).collect()
    }

    /// The accounts that an image is shared with; `*` where everybody may launch it. Safe to repeat.
    pub async fn shared_with(&self, image: &str) -> Result<BTreeSet<String>, ApiError> {
        let region = self.in_region();
        let send = || {
            let call = region.ec2.describe_image_attribute().image_id(image);
            call.attribute(ImageAttributeName::LaunchPermission).send()
        };
        let answer = region.call(Action::DescribeImageAttribute, Toll::None, send).await?;
        let who = |permission: &LaunchPermission| {
            permission.user_id().map(str::to_owned).or_else(|| permission.group().map(|_| "*".to_owned()))
        };
        Ok(answer.launch_permissions().iter().filter_map(who).collect())
    }

    /// Lets accounts launch an image. The same however often it is sent.
    pub async fn share(&self, image: &str, accounts: &BTreeSet<String>) -> Result<(), ApiError> {
        let region = self.in_region();
        let add = |account: &String| LaunchPermission::builder().user_id(account).build();
        let add: Vec<LaunchPermission> = accounts.iter().map(add).collect();
        let change = LaunchPermissionModifications::builder().set_add(Some(add)).build();
        let send = || {
            let call = region.ec2.modify_image_attribute().image_id(image);
            call.launch_permission(change.clone()).send()
        };
        region.call(Action::ModifyImageAttribute, Toll::None, send).await.map(drop)
    }

    /// Gives a resource tags, in place of those of the same keys. The same however often it is sent.
    pub async fn tag(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let region = self.in_region();
        let tags: Vec<Tag> =
            tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let send = || region.ec2.create_tags().resources(resource).set_tags(Some(tags.clone())).send();
        region.call(Action::CreateTags, Toll::None, send).await.map(drop)
    }

    /// Says from when on nobody is to start from an image. The same however often it is sent.
    ///
    /// * `at`: in the future; EC2 keeps it to the minute.
    pub async fn deprecate(&self, image: &str, at: Timestamp) -> Result<(), ApiError> {
        let region = self.in_region();
        let at = DateTime::from_millis(at.millis());
        let send = || region.ec2.enable_image_deprecation().image_id(image).deprecate_at(at).send();
        region.call(Action::EnableImageDeprecation, Toll::None, send).await.map(drop)
    }

    /// Takes an image away. What was launched from it goes on. An image that is gone is no failure, so it is safe to repeat.
    pub async fn deregister(&self, image: &str) -> Result<(), ApiError> {
        let region = self.in_region();
        let send = || region.ec2.deregister_image().image_id(image).send();
        gone_is_fine(region.call(Action::DeregisterImage, Toll::None, send).await.map(drop))
    }

    /// The snapshots that this account owns and that have a tag. Safe to repeat.
    pub async fn snapshots(&self, tag: &str) -> Result<Vec<Snapshot>, ApiError> {
        let region = self.in_region();
        let filter = Filter::builder().name("tag-key").values(tag).build();
        let send = |token| {
            let call = region.ec2.describe_snapshots().owner_ids("self").filters(filter.clone());
            call.max_results(1000).set_next_token(token).send()
        };
        let found = region.pages(Action::DescribeSnapshots, usize::MAX, send, |page| {
            (page.snapshots.unwrap_or_default(), page.next_token)
        });
        let read = |snapshot: aws_sdk_ec2::types::Snapshot| {
            let id = snapshot.snapshot_id?;
            let started = snapshot.start_time.and_then(|at| at.to_millis().ok());
            // One without a time is taken to be new: nothing is done with it.
            let started = Timestamp::from_millis(started.unwrap_or(i64::MAX));
            Some(Snapshot { id, started, tags: words::tags(&snapshot.tags.unwrap_or_default()) })
        };
        Ok(found.await?.into_iter().filter_map(read).collect())
    }

    /// Deletes a snapshot. One that is gone is no failure, so it is safe to repeat; one that an image is made of is refused
    /// by EC2, as `Malformed`.
    pub async fn delete_snapshot(&self, snapshot: &str) -> Result<(), ApiError> {
        let region = self.in_region();
        let send = || region.ec2.delete_snapshot().snapshot_id(snapshot).send();
        gone_is_fine(region.call(Action::DeleteSnapshot, Toll::None, send).await.map(drop))
    }
}

/// What is not there any more needs no removing.
fn gone_is_fine(result: Result<(), ApiError>) -> Result<(), ApiError> {
    result.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}

/// Whether what was to be removed is not there, or not any more.
pub(crate) fn is_gone(error: &ApiError) -> bool {
    error.class == ErrorClass::NotFound || error.code.as_deref() == Some("InvalidAMIID.Unavailable")
}

fn read_image(image: aws_sdk_ec2::types::Image) -> Result<Image, ApiError> {
    let time = |text: Option<&str>| text.and_then(|text| Timestamp::parse(text).ok());
    let odd = |what: &str| errors::local(ErrorClass::Malformed, Action::DescribeImages, what);
    let created = time(image.creation_date()).ok_or_else(|| odd("an image without a time"))?;
    let deprecated = time(image.deprecation_time());
    let disks = image.block_device_mappings().iter();
    let snapshots = disks.filter_map(|disk| disk.ebs()?.snapshot_id()).map(str::to_owned).collect();
    Ok(Image {
        available: image.state() == Some(&ImageState::Available),
        created,
        deprecated,
        snapshots,
        architecture: image.architecture().map(|word| word.as_str().to_owned()).unwrap_or_default(),
        tags: words::tags(image.tags()),
        id: image.image_id.ok_or_else(|| odd("an image without an id"))?,
        name: image.name.unwrap_or_default(),
        owner: image.owner_id.unwrap_or_default(),
    })
}
