//! `CommonOperationResult`: what every operation answers.

use super::codec::{Answer, Field, XmlRoot};
use super::{Errcode, Refusal};

const ROOT: XmlRoot = XmlRoot {
    name: Some("CommonOperationResult"),
    namespace: Some("http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer"),
};

/// An operation's result, as the document has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationResult {
    pub errcode: Errcode,
    /// Fit to be shown to a user where `errcode` isn't [`Errcode::Ok`].
    pub errmsg: Option<String>,
    /// What else the server has to say.
    pub tag: Option<String>,
}

impl OperationResult {
    pub fn done(tag: String) -> Self {
        Self { errcode: Errcode::Ok, errmsg: Some("ok".to_owned()), tag: Some(tag) }
    }

    pub fn refused(refusal: &Refusal) -> Self {
        Self { errcode: refusal.errcode(), errmsg: Some(refusal.errmsg()), tag: None }
    }

    /// To be written in any format; XML wants the members in this order.
    pub fn answer(&self) -> Answer<'_> {
        let members = vec![
            ("errcode", Field::Integer(self.errcode.number())),
            ("errmsg", self.errmsg.as_deref().into()),
            ("tag", self.tag.as_deref().into()),
        ];
        Answer { root: ROOT, members }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epay::codec::{AnswerType, write};

    #[test]
    fn a_result_without_a_tag_is_written_as_the_documented_service_writes_it() {
        let result = OperationResult { errcode: Errcode::Ok, errmsg: Some("ok".to_owned()), tag: None };
        let bytes = |answer_type| write(200, answer_type, &result.answer()).bytes();
        let bson: String =
            bytes(AnswerType::ApplicationBson).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bson, "2600000010657272636f64650000000000026572726d736700030000006f6b000a7461670000");
        assert_eq!(bytes(AnswerType::TextJson), br#"{"errcode":0,"errmsg":"ok","tag":null}"#);
        let xml = concat!(
            r#"<CommonOperationResult xmlns:i="http://www.w3.org/2001/XMLSchema-instance" "#,
            r#"xmlns="http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer">"#,
            r#"<errcode>0</errcode><errmsg>ok</errmsg><tag i:nil="true" /></CommonOperationResult>"#
        );
        assert_eq!(String::from_utf8(bytes(AnswerType::ApplicationXml)).unwrap(), xml);
    }
}
