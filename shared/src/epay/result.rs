//! `CommonOperationResult`: what every operation answers.

use super::Refusal;
use super::codec::{Answer, Field, XmlRoot};

const ROOT: XmlRoot = XmlRoot {
    name: Some("CommonOperationResult"),
    namespace: Some("http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer"),
};

/// An operation's result, as the document has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationResult {
    /// 0 for done.
    pub errcode: i32,
    /// Fit to be shown to a user where `errcode` isn't 0.
    pub errmsg: Option<String>,
    /// What else the server has to say.
    pub tag: Option<String>,
}

impl OperationResult {
    pub fn done(tag: String) -> Self {
        Self { errcode: 0, errmsg: Some("ok".to_owned()), tag: Some(tag) }
    }

    pub fn refused(refusal: &Refusal) -> Self {
        Self { errcode: refusal.errcode(), errmsg: Some(refusal.errmsg()), tag: None }
    }

    /// To be written in any format; XML wants the members in this order.
    pub fn answer(&self) -> Answer<'_> {
        let members = vec![
            ("errcode", Field::Integer(self.errcode)),
            ("errmsg", self.errmsg.as_deref().into()),
            ("tag", self.tag.as_deref().into()),
        ];
        Answer { root: ROOT, members }
    }
}
